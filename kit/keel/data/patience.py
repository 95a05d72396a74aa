"""A time-out that does not blame others for what this process did not get to.

While the event loop is busy, or the container has no processor time, an answer may lie in the socket unread.
asyncio.timeout counts that as time without an answer: a pod that has five hundred clients to tell something, or starts
beside others on a small node, would say that Valkey is away.
"""

import asyncio
from types import TracebackType

STEPS = 5


class Patience:
    """`async with Patience(seconds):` raises TimeoutError like asyncio.timeout, but each moment in which the loop is
    busy counts as a fifth of the seconds at most, however long it was."""

    def __init__(self, seconds: float) -> None:
        self._step_seconds = seconds / STEPS
        self._left = STEPS
        self._limit = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(self._step_seconds, self._step)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._timer.cancel()
        return await self._limit.__aexit__(kind, error, trace)

    def _step(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._step_seconds, self._step)
        else:
            # In the next round of the loop: what has been read in this one comes first.
            self._limit.reschedule(self._loop.time())
