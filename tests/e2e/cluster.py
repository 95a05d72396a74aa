"""Waiting for the cluster: every wait has an end, and says what it last saw."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float = 60.0, every: float = 0.5) -> T:
    """Look again and again until there is something (not None, not False). Raises AssertionError with the last look."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(every)
