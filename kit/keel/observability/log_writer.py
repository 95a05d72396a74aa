"""Writes log lines to a stream, many lines in one write."""

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Iterator
from threading import Lock
from typing import TextIO

SOON = 0.01  # seconds; a process that is killed may lose the lines of this time


class LogWriter:
    """Writes whole lines in order, from any thread.

    Writing blocks. If the reader of the stream stops, the process stops too, until its liveness probe fails and it is
    restarted. So no line is dropped, and none accumulates in memory. Lines for a closed stream are discarded silently.

    `turns` is a file that all processes with this stream lock while they write: a pipe takes 4096 bytes at once, and
    would mix up the lines of two that write more.
    """

    def __init__(self, stream: TextIO, turns: int | None = None) -> None:
        self._stream = stream
        self._turns = turns
        self._binary = getattr(stream, "buffer", None)
        self._pending: deque[bytes] = deque()
        self._lock = Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(stream.fileno(), True)

    def write(self, line: bytes) -> None:
        """Write a line now, after those that are waiting."""
        self._pending.append(line)
        self.flush()

    def write_soon(self, line: bytes) -> None:
        """Write a line together with those of the next SOON seconds; without an event loop, write it now."""
        self._pending.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_later(SOON, self.flush)

    def flush(self) -> None:
        """Write the lines that are waiting."""
        with self._lock:
            self._due_in = None
            lines = []
            while self._pending:
                lines.append(self._pending.popleft())
            if not lines:
                return
            with contextlib.suppress(OSError, ValueError), self._turn():
                if self._binary is None:
                    self._stream.write(b"".join(lines).decode())
                else:
                    self._binary.write(b"".join(lines))
                    self._binary.flush()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        if self._turns is None:
            yield
            return
        fcntl.lockf(self._turns, fcntl.LOCK_EX)  # the kernel gives it back if this process is killed
        try:
            yield
        finally:
            fcntl.lockf(self._turns, fcntl.LOCK_UN)
