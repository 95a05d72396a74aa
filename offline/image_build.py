"""Builds the image of a folder's Dockerfile and pushes it; the same inputs give the same digest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from offline.engine import buildx, push_options
from offline.registry import Registry
from toolkit import project
from toolkit.paths import BUILD
from toolkit.process import run

# What the public certificate authorities of a network that opens TLS are called on this host, if anywhere.
AUTHORITIES = ["/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem"]


@dataclass(frozen=True)
class Built:
    """An image that was pushed to the local registry."""

    repository: str
    digest: str


def build_image(
    registry: Registry,
    context: Path,
    *,
    tag: str = "latest",
    name: str = "links",
    options: Sequence[str] = (),
) -> Built:
    """Build a folder's Dockerfile, push it, and return its digest, which depends on nothing but the inputs."""
    digest = build_and_push(f"{registry.host}/{name}:{tag}", context, name=name, options=options)
    return Built(f"{project.LOCAL}/{name}", digest)


def build_and_push(target: str, context: Path, *, name: str, options: Sequence[str] = ()) -> str:
    """The same for any registry; `name` is that of the build's own files. Returns the digest, of all platforms."""
    metadata = BUILD / f"image-{name}.json"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    argv: list[str | Path] = [*buildx(), "build", "--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0"]
    argv += ["--metadata-file", metadata]
    bundle = next((a for a in AUTHORITIES if Path(a).exists()), None)
    if bundle:
        argv += ["--secret", f"id=ca,src={bundle}"]
    argv += ["--output", f"{push_options()},name={target}"]
    run([*argv, *options, context], log=f"image-{name}")
    return str(json.loads(metadata.read_text())["containerimage.digest"])
