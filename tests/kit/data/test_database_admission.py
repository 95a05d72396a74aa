"""Whose turn it is to have a connection."""

import asyncio
import time
from collections.abc import Awaitable

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keel.data.database_admission import Admission

pytestmark = pytest.mark.anyio
BUSY_SECONDS = 0.2
LONG = 30.0


class Visits:
    """Who has asked for a turn, and who was admitted, in this order."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.admitted: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *names: str) -> None:
        """Names that begin with `w` are writers'."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(name))
        await settled()

    async def go(self, name: str) -> None:
        self.admission.leave(to_write=name.startswith("w"))
        await settled()

    async def _enter(self, name: str) -> None:
        await self.admission.enter(to_write=name.startswith("w"))
        self.admitted.append(name)


async def settled() -> None:
    """Everything has gone on that could."""
    for _ in range(5):
        await asyncio.sleep(0)


async def end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_writer_is_not_overtaken_by_readers_that_come_later() -> None:
    """With a limit of their own before that of the pool, w2 was admitted last."""
    visits = Visits(Admission(connections=2, writers=1, seconds=LONG))
    await visits.come("w1", "r1")
    await visits.come("w2", "r2", "r3", "r4")
    assert visits.admitted == ["w1", "r1"]
    await visits.go("w1")
    assert visits.admitted[2:] == ["w2"]
    for name in ("r1", "w2", "r2"):
        await visits.go(name)
    assert visits.admitted[3:] == ["r2", "r3", "r4"]


async def test_readers_overtake_writers_that_may_not_come_in_yet() -> None:
    visits = Visits(Admission(connections=2, writers=1, seconds=LONG))
    await visits.come("w1", "w2", "r1", "r2")
    assert visits.admitted == ["w1", "r1"]
    await visits.go("r1")
    assert visits.admitted == ["w1", "r1", "r2"]
    await visits.go("r2")
    assert visits.admitted == ["w1", "r1", "r2"]
    await visits.go("w1")
    assert visits.admitted[3:] == ["w2"]


async def test_who_waits_for_too_long_is_told() -> None:
    admission = Admission(connections=1, writers=1, seconds=0.01)
    await admission.enter(to_write=False)
    with pytest.raises(PoolTimeoutError, match=r"too many others were writing for 0\.01 s"):
        await admission.enter(to_write=True)
    with pytest.raises(PoolTimeoutError, match=r"too many others were reading and writing for 0\.01 s"):
        await admission.enter(to_write=False)
    admission.leave(to_write=False)
    await admission.enter(to_write=True)


async def test_nobody_is_sent_away_because_this_process_was_busy() -> None:
    """The turn came in time, and nobody was there to take it."""
    admission = Admission(connections=1, writers=1, seconds=BUSY_SECONDS / 2)
    await admission.enter(to_write=True)
    waiting = asyncio.create_task(admission.enter(to_write=True))
    await asyncio.sleep(0)
    time.sleep(BUSY_SECONDS)  # noqa: ASYNC251
    asyncio.get_running_loop().call_later(0, lambda: admission.leave(to_write=True))
    await waiting


async def test_who_has_given_up_takes_no_turn() -> None:
    visits = Visits(Admission(connections=1, writers=1, seconds=LONG))
    await visits.come("r1", "w1", "r2")
    await end(visits.tasks["w1"])
    await visits.go("r1")
    assert visits.admitted == ["r1", "r2"]


async def test_who_gives_up_in_the_moment_of_the_turn_leaves_it_to_the_next() -> None:
    visits = Visits(Admission(connections=1, writers=1, seconds=LONG))
    await visits.come("r1", "w1", "r2")
    visits.admission.leave(to_write=False)
    await end(visits.tasks["w1"])  # which has its turn, and does not know it yet
    await settled()
    assert visits.admitted == ["r1", "r2"]


@pytest.mark.parametrize(
    ("size", "overflow", "writers"), [(5, 5, 5), (2, 1, 2), (2, 0, 1), (1, 0, 1), (1, 1, 1), (3, 0, 2)]
)
async def test_writers_leave_a_connection_to_the_readers(size: int, overflow: int, writers: int) -> None:
    visits = Visits(Admission.of_pool(size, overflow, LONG))
    await visits.come(*(f"w{n}" for n in range(size + overflow + 1)))
    assert len(visits.admitted) == writers
    await visits.come(*(f"r{n}" for n in range(size + overflow + 1)))
    assert len(visits.admitted) == size + overflow
    await end(*visits.tasks.values())


async def test_as_many_as_ever_after_many_who_came_left_and_gave_up() -> None:
    admission = Admission(connections=3, writers=2, seconds=LONG)

    async def visit(number: int) -> None:
        await admission.enter(to_write=number % 2 == 0)
        try:
            for _ in range(number % 4):
                await asyncio.sleep(0)
        finally:
            admission.leave(to_write=number % 2 == 0)

    visits: list[Awaitable[None]] = [asyncio.create_task(visit(n)) for n in range(200)]
    for n, each in enumerate(visits):
        if n % 7 == 0:
            assert isinstance(each, asyncio.Task)
            asyncio.get_running_loop().call_later(n / 100_000, each.cancel)
    await asyncio.gather(*visits, return_exceptions=True)
    after = Visits(admission)
    await after.come("w1", "w2", "w3", "r1", "r2")
    assert after.admitted == ["w1", "w2", "r1"]
    await end(*after.tasks.values())
