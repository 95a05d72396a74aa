"""What `make up` has written of the running cluster, for the commands that use it."""

import json
from pathlib import Path

from toolkit.paths import BUILD, shown
from toolkit.process import Failure

FILE = BUILD / "up.json"
NEEDED = ("url", "ca", "namespace", "release", "prometheus", "alertmanager", "token")


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
