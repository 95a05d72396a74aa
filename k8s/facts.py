"""What `make up` has written of the running cluster, for the commands that use it."""

import json
from collections.abc import Mapping
from pathlib import Path

from toolkit.paths import BUILD, shown
from toolkit.process import Failure

FILE = BUILD / "up.json"
CONFIG = "config."
NEEDED = ("url", "ca", "namespace", "release", "prometheus", "alertmanager", "token")


def config(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings of the service as the chart's values name them, and so the facts."""
    return {f"{CONFIG}{name}": value for name, value in settings.items()}


def config_of(facts: Mapping[str, str]) -> dict[str, str]:
    """The settings of the service that `make up` has chosen. Raises Failure where it has noted none."""
    if not any(name.startswith(CONFIG) for name in facts):
        raise Failure("build/up.json does not say the service's settings: have it written again by `make up`.")
    return {name.removeprefix(CONFIG): value for name, value in facts.items() if name.startswith(CONFIG)}


def load(file: Path = FILE) -> dict[str, str]:
    """Raises Failure where no cluster was brought up."""
    try:
        facts = {str(key): str(value) for key, value in dict(json.loads(file.read_text())).items()}
    except FileNotFoundError:
        raise Failure(f"No cluster is up ({shown(file)} is not there): bring one up with `make up`.") from None
    except (OSError, ValueError, TypeError) as error:
        raise Failure(f"{shown(file)} cannot be read ({error}): have it written again by `make up`.") from None
    if missing := [key for key in NEEDED if key not in facts]:
        raise Failure(f"{shown(file)} does not say {missing[0]}: have it written again by `make up`.")
    return facts
