import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select, update

from keel.data.database import Database, DatabaseUnavailableError
from keel.observability import tracing
from keel.tasks import worker as worker_module
from keel.tasks.run import Handler, Run
from keel.tasks.store import TaskStore
from keel.tasks.tables import TASKS
from keel.tasks.task import Empty, Schedule, Task
from keel.tasks.worker import Worker
from tests.probe.domain import MARKS, NewMark

pytestmark = pytest.mark.anyio

TASK = Task(name="job", payload=NewMark, attempts=3, first_retry_seconds=0)
Logs = Callable[[], list[dict[str, Any]]]


class Bench:
    """A queue, and workers on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = TaskStore(database)
        self.registry = CollectorRegistry()
        self.draining = False

    def worker(self, handler: Handler, task: Task[Any] = TASK, **chosen: Any) -> Worker:
        options: dict[str, Any] = {"at_once": 4, "poll_seconds": 0.01, "lease_seconds": 30} | chosen
        self.registry = CollectorRegistry()
        return Worker(self.store, [(task, handler)], [], self.registry, **options)

    @contextlib.asynccontextmanager
    async def working(self, handler: Handler, drain_seconds: float = 20, **chosen: Any) -> AsyncIterator[Worker]:
        worker = self.worker(handler, **chosen)
        async with worker.working(lambda: self.draining, drain_seconds):
            yield worker

    async def put(self, *numbers: int, task: Task[Any] = TASK) -> None:
        async with self.database.transaction() as connection:
            for number in numbers:
                payload = NewMark(number=number) if task.payload is NewMark else task.payload()
                await self.store.put(connection, task, payload)
            await connection.commit()

    async def left(self) -> int:
        async with self.database.reading() as connection:
            return int(await connection.scalar(select(func.count()).select_from(TASKS)))

    async def until_left(self, count: int) -> None:
        async with asyncio.timeout(30):
            while await self.left() != count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def until_failed(self) -> str:
        async with asyncio.timeout(30):
            while not (failed := await self.store.failed(1)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return str(failed[0].error)

    def outcomes(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("task_attempts_total", {"task": "job", "outcome": outcome})


def failures_told(log_lines: Logs) -> list[tuple[str, str, str]]:
    """Level, task and error of each line of a task that has failed for good."""
    told = (line for line in log_lines() if line["message"] == "task failed for good")
    return [(line["log.level"], line["labels.task"], line["labels.error"]) for line in told]


@pytest.fixture
def bench(database: Database, log_lines: Logs) -> Bench:
    del log_lines
    return Bench(database)


async def test_tasks_are_done_some_at_a_time_and_each_once(bench: Bench) -> None:
    done: list[int] = []
    now, most = 0, 0

    async def handler(new: NewMark, _run: Run) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        done.append(new.number)

    await bench.put(*range(20))
    async with bench.working(handler, at_once=3):
        await bench.until_left(0)
    assert sorted(done) == list(range(20))
    assert most == 3
    assert bench.outcomes("done") == 20


async def test_what_is_changed_in_the_task_s_transaction_is_changed_once(bench: Bench) -> None:
    """The first worker is so late that another one has done the task meanwhile."""
    begun, late = asyncio.Event(), asyncio.Event()

    async def slow(new: NewMark, run: Run) -> None:
        begun.set()
        await late.wait()
        async with run.transaction() as connection:
            await connection.execute(MARKS.insert().values(number=new.number, made_by="slow"))

    async def quick(new: NewMark, run: Run) -> None:
        async with run.transaction() as connection:
            await connection.execute(MARKS.insert().values(number=new.number, made_by="quick"))

    await bench.put(1)
    async with bench.working(slow, at_once=1, lease_seconds=3600):
        await begun.wait()
        slow_registry = bench.registry
        await bench.database.write(update(TASKS).values(due=0))
        async with bench.working(quick):
            await bench.until_left(0)
        late.set()
    async with bench.database.reading() as connection:
        assert [row.made_by for row in await connection.execute(select(MARKS))] == ["quick"]
    assert slow_registry.get_sample_value("task_attempts_total", {"task": "job", "outcome": "lost"}) == 1


async def test_a_task_that_raises_is_tried_again_and_then_kept_as_failed(bench: Bench, log_lines: Logs) -> None:
    attempts: list[int] = []

    async def handler(_new: NewMark, run: Run) -> None:
        attempts.append(run.attempt)
        raise RuntimeError("no paper")

    await bench.put(1)
    async with bench.working(handler):
        assert await bench.until_failed() == "RuntimeError('no paper')"
    assert attempts == [1, 2, 3]
    assert (bench.outcomes("retried"), bench.outcomes("failed")) == (2, 1)
    (failed,) = (line for line in log_lines() if line["message"] == "task failed for good")
    assert failed["log.level"] == "error"
    assert failed["labels.task"] == "job"


async def test_waits_double_up_to_an_hour() -> None:
    task = Task(name="job", payload=Empty, first_retry_seconds=5)
    assert [task.retry_seconds(attempt) for attempt in (1, 2, 3, 10, 11, 5000)] == [5, 10, 20, 2560, 3600, 3600]


async def test_a_task_that_takes_too_long_is_cancelled(bench: Bench, log_lines: Logs) -> None:
    async def handler(_new: Empty, _run: Run) -> None:
        await asyncio.sleep(60)

    task = Task(name="job", payload=Empty, attempts=1, timeout_seconds=0.05)
    await bench.put(0, task=task)
    async with bench.working(handler, task=task):
        assert await bench.until_failed() == "not done within 0.05 s"
    assert failures_told(log_lines) == [("error", "job", "not done within 0.05 s")]
    assert (bench.outcomes("failed"), bench.outcomes("done")) == (1, 0)


async def test_a_payload_that_no_longer_parses_fails_at_once_and_shows_no_values(bench: Bench, log_lines: Logs) -> None:
    """A good task after it is done."""
    done: list[int] = []

    async def handler(new: NewMark, _run: Run) -> None:
        done.append(new.number)

    await bench.put(1)
    await bench.database.write(update(TASKS).values(payload='{"number": "hunter2"}'))
    await bench.put(2)
    async with bench.working(handler, at_once=1):
        error = await bench.until_failed()
        await bench.until_left(1)
    assert error.startswith("its payload is not valid: number: ")
    assert done == [2]
    assert failures_told(log_lines) == [("error", "job", error)]
    assert "hunter2" not in str(log_lines())
    assert (bench.outcomes("failed"), bench.outcomes("retried"), bench.outcomes("done")) == (1, 0, 1)


async def test_a_task_whose_process_always_dies_is_not_tried_for_ever(bench: Bench) -> None:
    async def handler(_new: NewMark, _run: Run) -> None:
        raise AssertionError("it must not run")

    await bench.put(1)
    await bench.database.write(update(TASKS).values(attempts=TASK.attempts))
    async with bench.working(handler):
        assert "its processes ended" in await bench.until_failed()


async def test_a_database_that_is_away_costs_no_attempt(bench: Bench) -> None:
    attempts: list[int] = []

    async def handler(_new: NewMark, run: Run) -> None:
        attempts.append(run.attempt)
        if len(attempts) < 8:
            raise DatabaseUnavailableError

    await bench.put(1)
    async with bench.working(handler):
        await bench.until_left(0)
    assert attempts == [1] * 8


class Failing:
    """A statement of the store that fails a few times, with what the test says, before it is executed."""

    def __init__(self, statement: Callable[..., Awaitable[Any]], *errors: Exception) -> None:
        self.statement = statement
        self.errors = list(errors)

    async def __call__(self, *arguments: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return await self.statement(*arguments)


async def done_at_once(_new: NewMark, _run: Run) -> None:
    """A task that takes no time."""


@pytest.mark.parametrize("error", [DatabaseUnavailableError(), RuntimeError("a bug")])
async def test_a_worker_goes_on_after_it_could_take_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    failing = Failing(bench.store.take, error, error)
    monkeypatch.setattr(bench.store, "take", failing)
    await bench.put(1)
    async with bench.working(done_at_once):
        await bench.until_left(0)
    assert not failing.errors


async def test_a_task_is_not_done_again_because_the_database_was_away_at_its_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "AGAIN_SECONDS", 0.01)
    failing = Failing(bench.store.finish_all, *[DatabaseUnavailableError()] * 3)
    monkeypatch.setattr(bench.store, "finish_all", failing)
    await bench.put(1, 2)
    async with bench.working(done_at_once):
        await bench.until_left(0)
    assert not failing.errors
    assert bench.outcomes("done") == 2


async def test_a_database_that_is_away_does_not_hold_up_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease ends by itself."""
    failing = Failing(bench.store.finish_all, *[DatabaseUnavailableError()] * 1000)
    monkeypatch.setattr(worker_module, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(bench.store, "finish_all", failing)
    await bench.put(1)
    async with asyncio.timeout(30), bench.working(done_at_once):
        while len(failing.errors) > 995:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await bench.left() == 1
    assert bench.outcomes("lost") == 1


@pytest.mark.parametrize("raises", [True, False])
async def test_whoever_has_lost_the_lease_changes_nothing(bench: Bench, *, raises: bool) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_new: NewMark, _run: Run) -> None:
        begun.set()
        await go_on.wait()
        if raises:
            raise RuntimeError("too late")

    await bench.put(1)
    async with bench.working(handler, at_once=1):
        await begun.wait()
        await bench.database.write(update(TASKS).values(due=0))
        (theirs,) = await bench.store.take(["job"], 1, 30)
        go_on.set()
        async with asyncio.timeout(30):
            while bench.outcomes("lost") != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await bench.store.renew([theirs], 30) == {theirs.id}


async def test_a_renewal_that_finds_the_lease_lost_ends_the_attempt(bench: Bench) -> None:
    begun = asyncio.Event()

    async def handler(_new: NewMark, _run: Run) -> None:
        begun.set()
        await asyncio.sleep(60)

    await bench.put(1)
    async with bench.working(handler, at_once=1, lease_seconds=0.6):
        await begun.wait()
        await bench.database.write(update(TASKS).values(lease="theirs", due=4e9))
        async with asyncio.timeout(30):
            while bench.outcomes("lost") != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_the_drain_waits_for_running_tasks_and_takes_no_more(bench: Bench) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_new: NewMark, _run: Run) -> None:
        begun.set()
        await go_on.wait()

    await bench.put(1, 2)
    async with bench.working(handler, at_once=1):
        await begun.wait()
        bench.draining = True
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    assert await bench.left() == 1
    assert bench.outcomes("done") == 1


async def test_what_is_not_done_at_the_end_of_the_drain_is_given_back(bench: Bench) -> None:
    begun = asyncio.Event()

    async def handler(_new: NewMark, _run: Run) -> None:
        begun.set()
        await asyncio.sleep(60)

    await bench.put(1)
    async with bench.working(handler, drain_seconds=0.05):
        await begun.wait()
    (again,) = await bench.store.take(["job"], 1, 30)
    assert again.attempt == 1, "at once, and the attempt does not count"
    assert bench.outcomes("put_back") == 1


async def test_a_long_task_keeps_its_lease(bench: Bench) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def handler(_new: NewMark, _run: Run) -> None:
        begun.set()
        await go_on.wait()

    async def lease() -> float:
        async with bench.database.reading() as connection:
            return float(await connection.scalar(select(TASKS.c.due)))

    await bench.put(1)
    async with bench.working(handler, lease_seconds=3):
        await begun.wait()
        before = await lease()
        async with asyncio.timeout(30):
            while await lease() == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        go_on.set()
        await bench.until_left(0)
    assert bench.outcomes("done") == 1


async def test_a_task_of_a_name_that_is_gone_is_left_and_told_of_once(bench: Bench, log_lines: Logs) -> None:
    async def handler(_new: NewMark, _run: Run) -> None:
        raise AssertionError("it must not run")

    await bench.put(0, task=Task(name="of-before", payload=Empty))
    async with bench.working(handler) as worker:
        await worker.count()
        await worker.count()
    assert await bench.left() == 1
    assert bench.registry.get_sample_value("tasks_waiting", {"task": "other"}) == 1
    told = [line for line in log_lines() if "unknown name" in line["message"]]
    assert [line["labels.task"] for line in told] == ["of-before"]


async def test_a_trace_goes_on_and_lines_say_whose_they_are(bench: Bench, log_lines: Logs) -> None:
    request = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    seen: list[tuple[str, tracing.TraceIds | None]] = []

    async def handler(_new: NewMark, run: Run) -> None:
        seen.append((run.id, tracing.current_ids()))
        structlog.get_logger("test").info("at work")

    with trace.use_span(trace.NonRecordingSpan(request)):
        await bench.put(1)
    async with bench.working(handler):
        await bench.until_left(0)
    ((run_id, ids),) = seen
    assert ids is not None
    assert ids.trace_id == f"{0xABC:032x}"
    (line,) = (line for line in log_lines() if line["message"] == "at work")
    assert (line["labels.task"], line["labels.task_id"], line["labels.attempt"]) == ("job", run_id, 1)


async def test_names_are_unique_and_schedules_have_handlers(bench: Bench) -> None:
    async def handler(_new: NewMark, _run: Run) -> None: ...

    options: dict[str, Any] = {"at_once": 1, "poll_seconds": 1, "lease_seconds": 30}
    with pytest.raises(ValueError, match="same name"):
        Worker(bench.store, [(TASK, handler), (TASK, handler)], [], CollectorRegistry(), **options)
    nightly = Schedule(task=Task(name="nightly", payload=Empty), cron="0 3 * * *")
    with pytest.raises(ValueError, match="The task nightly has a schedule and no handler"):
        Worker(bench.store, [(TASK, handler)], [nightly], CollectorRegistry(), **options)
