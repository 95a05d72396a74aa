"""A time-out that does not blame others for what this process did not get to.

While the event loop is busy, or the container has no processor time, an answer may lie in the socket unread.
asyncio.timeout counts that as time without an answer: a pod that has five hundred clients to tell something, or starts
beside others on a small node, would say that its database or Valkey is away.
"""

import asyncio
from types import TracebackType

STEPS = 5
LATE_STEPS = 15  # that do not count, at most: who is busy for ever is not waited for for ever


class Patience:
    """`async with Patience(seconds):` raises TimeoutError like asyncio.timeout; later, if the loop was busy meanwhile.

    The seconds are counted in five steps. One that the loop came to late, by a step or more, does not count.
    """

    def __init__(self, seconds: float) -> None:
        self._step_seconds = seconds / STEPS
        self._left = STEPS
        self._late = LATE_STEPS
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._step_seconds, self._step)

    def _step(self) -> None:
        late = self._loop.time() - self._timer.when() >= self._step_seconds
        if late and self._late:
            self._late -= 1
        else:
            self._left -= 1
        if self._left:
            self._wait()
        else:
            # In the next round of the loop: what has been read in this one comes first.
            self._limit.reschedule(self._loop.time())
