import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import select

from keel.data.database import Database
from keel.tasks import schedules
from keel.tasks.schedules import Schedules
from keel.tasks.store import TaskStore
from keel.tasks.tables import SCHEDULES, TASKS
from keel.tasks.task import Empty, Schedule, Task
from tests.probe.domain import MARK
from toolkit.paths import ROOT

pytestmark = pytest.mark.anyio

NIGHTLY = Task(name="nightly", payload=Empty)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Clock:
    """The clock of the processes that watch schedules."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = at("2026-03-01 12:00")
        monkeypatch.setattr(schedules, "time", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
async def store(database: Database, clock: Clock) -> TaskStore:
    """Of a service whose nightly schedule began before the clock's time."""
    async with database.transaction() as connection:
        await connection.execute(SCHEDULES.insert().values(name="nightly", done_until=clock.now))
        await connection.commit()
    return TaskStore(database)


def nightly(store: TaskStore) -> Schedules:
    return Schedules(store, [Schedule(task=NIGHTLY, cron="0 3 * * *")])


async def waiting(store: TaskStore) -> int:
    counts = await store.counts()
    return counts["nightly"].waiting if "nightly" in counts else 0


async def test_a_task_is_put_when_its_time_has_come(store: TaskStore, clock: Clock) -> None:
    process = nightly(store)
    await process.put_due()
    assert await waiting(store) == 0
    clock.now = at("2026-03-02 03:00")
    await process.put_due()
    await process.put_due()
    assert await waiting(store) == 1


async def test_of_many_processes_one_puts_the_task(store: TaskStore, clock: Clock) -> None:
    processes = [nightly(store) for _ in range(5)]
    for process in processes:
        await process.put_due()
    clock.now = at("2026-03-02 03:00")
    await asyncio.gather(*(process.put_due() for process in processes))
    (taken,) = await store.take(["nightly"], 10, 30)
    async with store.database.transaction() as connection:
        await store.finish(connection, taken)
        await connection.commit()
    for process in [*processes, nightly(store)]:
        await process.put_due()
    assert await waiting(store) == 0, "it is done, also for a process that starts later or whose clock is behind"


async def test_times_that_nobody_was_there_for_are_made_up_for_once(store: TaskStore, clock: Clock) -> None:
    clock.now = at("2026-03-09 10:00")
    await nightly(store).put_due()
    assert await waiting(store) == 1
    async with store.database.reading() as connection:
        assert await connection.scalar(select(SCHEDULES.c.done_until)) == at("2026-03-09 03:00")


async def test_tasks_of_one_schedule_do_not_pile_up(store: TaskStore, clock: Clock) -> None:
    process = nightly(store)
    for day in (2, 3, 4):
        clock.now = at(f"2026-03-{day:02} 03:00")
        await process.put_due()
    assert await waiting(store) == 1


async def test_a_new_schedule_does_not_run_for_the_past(database: Database) -> None:
    store = TaskStore(database)
    process = Schedules(store, [Schedule(task=NIGHTLY, cron="* * * * *")])
    await process.put_due()
    async with database.reading() as connection:
        assert (await connection.execute(select(TASKS))).all() == []


async def test_one_schedule_that_cannot_be_put_keeps_no_other_from_it(
    store: TaskStore, clock: Clock, log_lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Schedule(task=Task(name="broken", payload=Empty), cron="0 3 * * *")
    process = Schedules(store, [other, Schedule(task=NIGHTLY, cron="0 3 * * *")])
    begin = store.begin_schedule

    async def failing(schedule: Schedule) -> float:
        if schedule is other:
            raise RuntimeError("no")
        return await begin(schedule)

    monkeypatch.setattr(store, "begin_schedule", failing)
    clock.now = at("2026-03-02 03:00")
    await process.put_due()
    assert await waiting(store) == 1
    assert [line["labels.task"] for line in log_lines() if "cannot be put" in line["message"]] == ["broken"]


def test_times_are_those_of_the_zone_and_come_once_when_clocks_change() -> None:
    berlin = Schedule(task=NIGHTLY, cron="30 2 * * *", zone="Europe/Berlin")
    spring = berlin.after(at("2026-03-28 12:00"))  # on the 29th there is no 02:30
    assert at("2026-03-29 01:00") <= spring <= at("2026-03-29 01:30")
    autumn = berlin.after(at("2026-10-24 12:00"))  # on the 25th there are two
    following = berlin.after(autumn)
    assert following == at("2026-10-26 01:30")


def test_time_zones_come_with_the_service() -> None:
    """Images have none."""
    assert "\ntzdata==" in (ROOT / "requirements" / "app.txt").read_text()


class Needy(BaseModel):
    to: str


@pytest.mark.parametrize(
    ("chosen", "told"),
    [
        ({"cron": "0 0 31 2 *"}, "is no cron expression: Bad day-of-month"),
        ({"cron": "0 0 */31 * MON#5"}, "never comes"),
        ({"cron": "61 * * * *"}, "is no cron expression"),
        ({"cron": "hourly"}, "is no cron expression"),
        ({"zone": "Mars/Olympus"}, "there is no time zone Mars/Olympus"),
        ({"task": Task(name="needy", payload=Needy)}, "its payload needs fields"),
        ({"task": MARK}, "its payload needs fields"),
    ],
)
def test_what_could_never_run_is_refused_with_a_sentence(chosen: dict[str, Any], told: str) -> None:
    defaults: dict[str, Any] = {"task": NIGHTLY, "cron": "0 3 * * *"}
    mistake = Schedule(**defaults | chosen).mistake()
    assert mistake
    assert re.search(told, mistake)


def test_a_task_needs_a_name_and_an_attempt() -> None:
    with pytest.raises(ValueError, match="1 to 100 characters"):
        Task(name="", payload=Empty)
    with pytest.raises(ValueError, match="at least one attempt"):
        Task(name="job", payload=Empty, attempts=0)
