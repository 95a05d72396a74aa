"""An OCI runtime in front of runc for hosts that lack CAP_SYS_RESOURCE themselves.

Without it runc cannot start a privileged container ("unable to apply caps: operation not permitted"), lower an
out-of-memory score or raise a resource limit, so these wishes are taken out of what the engine asks for.
https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-process
"""

import json
import os
import sys
from pathlib import Path


def value(argv: list[str], *names: str) -> str | None:
    """The value of an option, given as `--name value` or `--name=value`."""
    for position, word in enumerate(argv):
        for name in names:
            if word == name:
                return argv[position + 1]
            if word.startswith(name + "="):
                return word.split("=", 1)[1]
    return None


def clamp(process: dict) -> None:  # type: ignore[type-arg]
    """Take out what needs the capability."""
    for kept in (process.get("capabilities") or {}).values():
        if "CAP_SYS_RESOURCE" in kept:
            kept.remove("CAP_SYS_RESOURCE")
    if (process.get("oomScoreAdj") or 0) < 0:
        process["oomScoreAdj"] = 0
    process.pop("rlimits", None)


def rewrite(file: Path, *, whole: bool) -> None:
    spec = json.loads(file.read_text())
    clamp(spec.get("process", {}) if whole else spec)
    file.write_text(json.dumps(spec))


def main(argv: list[str]) -> None:
    if "create" in argv or "run" in argv:
        rewrite(Path(value(argv, "--bundle", "-b") or ".") / "config.json", whole=True)
    elif "exec" in argv and (file := value(argv, "--process", "-p")):
        rewrite(Path(file), whole=False)
    os.execvp("runc", ["runc", *argv])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
