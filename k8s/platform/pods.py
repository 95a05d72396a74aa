"""What a namespace's pods say of themselves, for when something does not become ready."""

import contextlib
import json
from collections.abc import Sequence

from toolkit.process import CommandFailed, Failure, output

EVENTS = 8  # the last warnings


def say(kubectl: Sequence[str]) -> str:
    """The state of the pods, the last lines of those that do not run, and the last warnings; of kubectl's namespace.

    Raises nothing: whoever asks has something else to tell.
    """
    try:
        return "\n".join(_said(kubectl))
    except Failure as error:
        return str(error)


def _said(kubectl: Sequence[str]) -> list[str]:
    said = [output([*kubectl, "get", "pods", "-o", "wide"])]
    pods = json.loads(output([*kubectl, "get", "pods", "-o", "json"]))["items"]
    for pod in pods:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
        if not ready and pod["status"]["phase"] != "Succeeded":
            name = pod["metadata"]["name"]
            with contextlib.suppress(CommandFailed):  # it has not started, or is gone
                said.append(f"{name} says:\n" + output([*kubectl, "logs", name, "--tail=5"]))
    warnings = ["get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp", "--no-headers"]
    return [*said, *output([*kubectl, *warnings]).splitlines()[-EVENTS:]]
