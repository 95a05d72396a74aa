"""One run at a time: a file that the kernel locks for as long as the process lives, however it ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.process import Failure


@contextmanager
def exclusive_run(file: Path, refusal: str = "") -> Iterator[None]:
    """Hold the file's lock while the block runs. Where another run holds it, raise Failure with the refusal, or wait
    for its end if there is none."""
    with file.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise Failure(refusal) from None
        yield
