"""Work that is repeated in the background."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from keel.data.database import DatabaseUnavailableError

log = structlog.get_logger("keel.data.periodic")


@contextlib.asynccontextmanager
async def every(seconds: float, work: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Repeat `work` while inside, with a pause of `seconds` before each time. At the end, finish what has begun."""
    stop = asyncio.Event()
    task = asyncio.create_task(_repeat(seconds, work, stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def _repeat(seconds: float, work: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
        if stop.is_set():
            return
        try:
            await work()
        except DatabaseUnavailableError:
            continue  # the database has logged it, and it may pass
        except Exception:
            log.exception("background work failed")
