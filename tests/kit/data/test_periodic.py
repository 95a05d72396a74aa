import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keel.data.database import DatabaseUnavailableError
from keel.data.periodic import every

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
Logs = Callable[[], list[dict[str, Any]]]


async def test_works_again_and_again(until: Until) -> None:
    times: list[int] = []

    async def work() -> None:
        times.append(len(times))

    async with every(0.001, work):
        await until(lambda: len(times) >= 3)
    count = len(times)
    await asyncio.sleep(0.01)
    assert len(times) == count


async def test_ends_at_once_when_there_is_nothing_to_finish() -> None:
    async with asyncio.timeout(5), every(3600, asyncio.Event().wait):
        pass


async def test_finishes_what_has_begun() -> None:
    begun, go, finished = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await go.wait()
        finished.append(True)

    async def inside() -> None:
        async with every(0.001, work):
            await begun.wait()

    task = asyncio.create_task(inside())
    await begun.wait()
    await asyncio.sleep(0.01)
    assert not task.done()
    go.set()
    await task
    assert finished == [True]


@pytest.mark.parametrize(("error", "logged"), [(DatabaseUnavailableError(), False), (ValueError("oh"), True)])
async def test_an_error_is_not_the_end(error: Exception, logged: bool, until: Until, log_lines: Logs) -> None:
    times: list[int] = []

    async def work() -> None:
        times.append(len(times))
        raise error

    async with every(0.001, work):
        await until(lambda: len(times) >= 3)
    assert ("background work failed" in [line["message"] for line in log_lines()]) is logged
