"""Requests that go on while a container ends, each on a connection of its own."""

import threading
import time
from http.client import HTTPException

from keel.contract.container import Container

VISITORS = 4
# One begins so long after the other: at any moment, some requests have been under way for longer than others.
APART_SECONDS = 0.1
# When a port closes, the kernel resets the connections that nobody has accepted yet. The chart keeps requests away by
# then; here they come until the last moment.
CLOSING_SECONDS = 0.2


class Visitors:
    """Ask for a path, again and again, while inside; then `lost` says how many requests were not answered."""

    def __init__(self, container: Container, path: str) -> None:
        self._container = container
        self._path = path
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit, args=(number * APART_SECONDS,)) for number in range(VISITORS)
        ]
        self._lock = threading.Lock()
        self._failed: list[float] = []
        self._refused: list[float] = []
        self.answered = 0

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def lost(self) -> int:
        """Requests that were connected before the port closed, and got no answer."""
        closed = min(self._refused, default=time.monotonic())
        return sum(began < closed - CLOSING_SECONDS for began in self._failed)

    def _visit(self, after: float) -> None:
        self._stop.wait(after)
        while not self._stop.is_set():
            connection, began = self._container.connect(self._container.pod.public), time.monotonic()
            try:
                connection.connect()
            except OSError:
                with self._lock:
                    self._refused.append(began)
                time.sleep(0.05)
                continue
            try:
                connection.request("GET", self._path, headers={"Connection": "close"})
                connection.getresponse().read()
                with self._lock:
                    self.answered += 1
            except (OSError, HTTPException):
                with self._lock:
                    self._failed.append(began)
            finally:
                connection.close()
