"""The lag of the event loop: how long everything in the process waits when something blocks it."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from time import perf_counter

from prometheus_client import CollectorRegistry, Gauge, Histogram

INTERVAL = 0.1
WINDOW = 60  # seconds; not "since the last scrape", as there may be two scrapers
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class EventLoopLag:
    """Repeatedly sleeps for 100 ms, and measures by how much each sleep was too long."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "event_loop_lag_seconds",
            "How late the event loop runs a timer, measured ten times a second.",
            buckets=SECONDS,
            registry=registry,
        )
        # Time and lag of those lags in the window that no later one exceeds, the largest first.
        self._largest: deque[tuple[float, float]] = deque()
        gauge = Gauge("event_loop_lag_max_seconds", "The largest lag of the last minute.", registry=registry)
        gauge.set_function(lambda: self.largest(perf_counter()))

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Measure while inside."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def note(self, lag: float, now: float) -> None:
        """Record a lag."""
        self._lag.observe(lag)
        while self._largest and self._largest[-1][1] <= lag:
            self._largest.pop()
        self._largest.append((now, lag))
        self.largest(now)

    def largest(self, now: float) -> float:
        """The largest lag of the last minute; 0 if none was measured."""
        while self._largest and self._largest[0][0] < now - WINDOW:
            self._largest.popleft()
        return self._largest[0][1] if self._largest else 0

    async def _watch(self) -> None:
        while True:
            due = perf_counter() + INTERVAL
            await asyncio.sleep(INTERVAL)
            now = perf_counter()
            self.note(max(0, now - due), now)
