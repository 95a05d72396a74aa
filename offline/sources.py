"""Are images pulled or built? They are pulled where every registry that the lock file names answers."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from http import HTTPStatus

import httpx

from toolkit.process import Failure

TIMEOUT = 4.0  # seconds


class Source(Enum):
    PULL = "pull"
    BUILD = "build"


def answers(registry: str) -> bool:
    """Whether an image registry speaks the distribution API (https://github.com/opencontainers/distribution-spec)."""
    host = "registry-1.docker.io" if registry == "docker.io" else registry  # docker.io is a name, not a host
    try:
        status = httpx.get(f"https://{host}/v2/", timeout=TIMEOUT).status_code
    except httpx.HTTPError:
        return False
    return status in {HTTPStatus.OK, HTTPStatus.UNAUTHORIZED}


def decide(registries: Iterable[str], probe: Callable[[str], bool] = answers) -> Source:
    """Pull if every registry answers, else build. $SHIPSHAPE_IMAGES (pull or build) overrules the probe."""
    wish = os.environ.get("SHIPSHAPE_IMAGES", "")
    if wish:
        try:
            return Source(wish)
        except ValueError:
            raise Failure(f"SHIPSHAPE_IMAGES is '{wish}': set it to 'pull' or 'build', or not at all.") from None
    hosts = list(registries)
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        return Source.PULL if all(pool.map(probe, hosts)) else Source.BUILD
