"""Go commands that fetch modules: within a time, and tried again. Go waits for ever, and has no setting for that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

from toolkit import reasons
from toolkit.process import CommandFailed, Failure, TimedOut, captured

SECONDS = 600.0  # for all that one program is made of: 500 MB at 1 MB/s
TRIES = 2


def go_fetch(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> "CompletedProcess[str]":
    """Run to the end. What came in stays in Go's cache, so the next try goes on there. Raises Failure."""
    for left in reversed(range(TRIES)):
        try:
            return captured(argv, cwd=cwd, env=env, timeout=SECONDS)
        except TimedOut as error:
            if not left:
                raise Failure(f"{reasons.NETWORK}\n{error}") from error
        except CommandFailed as error:
            if not left or reasons.explain(error.said) != reasons.NETWORK:
                raise
    raise AssertionError("at least one try")
