"""Where log lines go: a stream, many lines in one write."""

import asyncio
import contextlib
import os
from collections import deque
from threading import Lock
from typing import TextIO

SOON = 0.01  # seconds: what a process that is killed may take with it


class LogWriter:
    """Writes whole lines in the order they were given, from any thread.

    Writing blocks: when whoever reads the stream stops, so does the process, until its liveness
    probe fails and it is restarted. Nothing is dropped and nothing piles up in memory.
    A stream that is closed takes no more lines, and no one is bothered with it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._binary = getattr(stream, "buffer", None)
        self._pending: deque[bytes] = deque()
        self._lock = Lock()
        self._due_in: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(OSError, ValueError):
            os.set_blocking(stream.fileno(), True)

    def write(self, line: bytes) -> None:
        """Write a line now, after those that wait."""
        self._pending.append(line)
        self.flush()

    def write_soon(self, line: bytes) -> None:
        """Write a line together with the others of the next SOON seconds; outside of an event loop, now."""
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
        with self._lock:
            self._due_in = None
            lines = []
            while self._pending:
                lines.append(self._pending.popleft())
            if not lines:
                return
            with contextlib.suppress(OSError, ValueError):
                if self._binary is None:
                    self._stream.write(b"".join(lines).decode())
                else:
                    self._binary.write(b"".join(lines))
                    self._binary.flush()
