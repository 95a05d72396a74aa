"""Takes tasks from the queue and runs them, several at a time, in the event loop of the service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from keel.data.database import DatabaseUnavailableError
from keel.data.periodic import every
from keel.observability import tracing
from keel.tasks.finisher import Finisher
from keel.tasks.run import Handler, Run
from keel.tasks.schedules import Schedules
from keel.tasks.store import LostLeaseError, Taken, TaskStore
from keel.tasks.task import Schedule, Task
from keel.tasks.task_metrics import TaskMetrics

COUNT_SECONDS = 15  # how often the tasks in the database are counted for the metrics
RENEWALS = 3  # in the time of one lease, so that one or two of them may fail
AGAIN_SECONDS = 1.0  # pause before a statement is tried again that the database did not take

log = structlog.get_logger("keel.tasks")


class _UnfitError(Exception):
    """The task cannot be run; the message says why."""


class Worker:
    """Runs tasks while inside `working`.

    A task of an unknown name is left for a version of the service that knows it: it shows in the metrics as `other`.
    """

    def __init__(
        self,
        store: TaskStore,
        handlers: Sequence[tuple[Task[Any], Handler]],
        schedules: Sequence[Schedule],
        registry: CollectorRegistry,
        *,
        at_once: int,
        poll_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._handlers = {task.name: (task, handler) for task, handler in handlers}
        if len(self._handlers) < len(handlers):
            raise ValueError("Two tasks have the same name: tasks that are waiting are found by it. Rename one.")
        if strange := {each.task.name for each in schedules} - set(self._handlers):
            raise ValueError(f"The task {min(strange)} has a schedule and no handler.")
        self._schedules = Schedules(store, schedules)
        self._metrics = TaskMetrics(registry, self._handlers, at_once)
        self._at_once = at_once
        self._poll_seconds = poll_seconds
        self._lease_seconds = lease_seconds
        self._finisher = Finisher(store.finish_all)
        self._running: dict[str, tuple[Taken, asyncio.Task[None]]] = {}
        self._stop = asyncio.Event()
        self._room = asyncio.Event()
        self._unknown: set[str] = set()

    @contextlib.asynccontextmanager
    async def working(self, draining: Callable[[], bool], drain_seconds: float) -> AsyncIterator[None]:
        """Take tasks and run them while inside, but none once `draining` is true.

        At the end, running tasks have `drain_seconds`, counted from the first moment of the drain. What is not done by
        then is cancelled and given back, and another process begins it anew.
        """
        taking = asyncio.create_task(self._take_until(draining))
        try:
            async with every(COUNT_SECONDS, self.count), every(self._lease_seconds / RENEWALS, self._renew):
                yield
                self._stop.set()
                drain_began = await taking
                await self._finish(max(0.0, drain_seconds - (monotonic() - drain_began)))
        finally:
            taking.cancel()

    async def count(self) -> None:
        """Count the tasks in the database for the metrics, and log names that this version does not know."""
        counts = await self._store.counts()
        self._metrics.stored(counts)
        for name in sorted(set(counts) - set(self._handlers) - self._unknown):
            log.warning("tasks of an unknown name are left for another version", task=name, tasks=counts[name].waiting)
            self._unknown.add(name)

    async def _take_until(self, draining: Callable[[], bool]) -> float:
        while not (self._stop.is_set() or draining()):
            await self._schedules.put_due()
            room = self._at_once - len(self._running)
            taken = await self._take(room)
            for each in taken:
                self._begin(each)
            if len(taken) < room:
                await _wait(self._stop, self._poll_seconds)
            elif len(self._running) >= self._at_once:
                self._room.clear()
                await _wait(self._room, self._poll_seconds)
        return monotonic()

    async def _take(self, room: int) -> list[Taken]:
        if room == 0:
            return []
        try:
            return await self._store.take(self._handlers, room, self._lease_seconds)
        except DatabaseUnavailableError:
            return []  # the database has logged it, and it may pass
        except Exception:
            log.exception("no tasks can be taken")
            return []

    def _begin(self, taken: Taken) -> None:
        if before := self._running.get(taken.id):
            before[1].cancel()  # its lease was over, and it is ours again
        running = asyncio.create_task(self._run(taken))
        self._running[taken.id] = (taken, running)
        running.add_done_callback(lambda done: self._end(taken, done))

    def _end(self, taken: Taken, done: asyncio.Task[None]) -> None:
        if self._running.get(taken.id, (None, None))[1] is done:
            del self._running[taken.id]
        self._room.set()

    async def _renew(self) -> None:
        taken = [each for each, _ in self._running.values()]
        if not taken:
            return
        ours = await self._store.renew(taken, self._lease_seconds)
        for each in taken:
            if each.id not in ours and (found := self._running.get(each.id)):
                found[1].cancel("lost")

    async def _finish(self, seconds: float) -> None:
        running = [task for _, task in self._running.values()]
        if not running:
            return
        log.info("draining: waiting for tasks", tasks=len(running), seconds=round(seconds, 1))
        _, late = await asyncio.wait(running, timeout=seconds)
        for each in late:
            each.cancel()
        if late:
            await asyncio.wait(late)

    async def _run(self, taken: Taken) -> None:
        task, handler = self._handlers[taken.name]
        running, started = self._metrics.running.labels(task.name), monotonic()
        running.inc()
        with (
            structlog.contextvars.bound_contextvars(task=task.name, task_id=taken.id, attempt=taken.attempt),
            tracing.span(f"task {task.name}", taken.traceparent),
        ):
            try:
                outcome = await self._attempt(task, handler, taken)
            finally:
                running.dec()
                self._metrics.duration.labels(task.name).observe(monotonic() - started)
            self._metrics.outcomes.labels(task.name, outcome).inc()

    async def _attempt(self, task: Task[Any], handler: Handler, taken: Taken) -> str:
        """Run the task once, and write down how that ended; returns the outcome for the metrics."""
        try:
            payload = _payload(task, taken)
        except _UnfitError as error:
            return await self._fail(taken, str(error))
        run = Run(self._store, taken)
        try:
            async with asyncio.timeout(task.timeout_seconds) as limit:
                await handler(payload, run)
            if not run.finished:
                await self._settle(lambda: self._finisher.finish(taken))
        except LostLeaseError:
            log.warning("another process has taken the task: what it did here in its transaction was rolled back")
            return "lost"
        except asyncio.CancelledError:  # at the end of the drain, or after its lease was lost
            return await self._settled("put_back", lambda: self._store.put_back(taken))
        except DatabaseUnavailableError:  # no failure of the task's, so it costs no attempt
            return await self._settled("put_back", lambda: self._store.put_back(taken, task.first_retry_seconds))
        except Exception as error:
            told = f"not done within {task.timeout_seconds:g} s" if limit.expired() else repr(error)
            return await self._try_again(task, taken, error, told)
        return "done"

    async def _try_again(self, task: Task[Any], taken: Taken, error: Exception, told: str) -> str:
        if taken.attempt >= task.attempts:
            return await self._fail(taken, told, error)
        delay = task.retry_seconds(taken.attempt)
        log.warning("task failed, and will be tried again", error=told, seconds=delay, exc_info=error)
        return await self._settled("retried", lambda: self._store.retry(taken, delay, told))

    async def _fail(self, taken: Taken, told: str, error: Exception | None = None) -> str:
        log.error("task failed for good", error=told, exc_info=error)
        return await self._settled("failed", lambda: self._store.give_up(taken, told))

    async def _settled(self, outcome: str, statement: Callable[[], Awaitable[None]]) -> str:
        try:
            await self._settle(statement)
        except LostLeaseError:
            return "lost"
        return outcome

    async def _settle(self, statement: Callable[[], Awaitable[None]]) -> None:
        """Write down how an attempt ended. While the database is away, try again: the lease is ours until it is over.

        Raises:
            LostLeaseError: the task is no longer ours.
        """
        while True:
            try:
                return await statement()
            except DatabaseUnavailableError:
                if self._stop.is_set():
                    raise LostLeaseError from None  # the lease ends by itself
                await asyncio.sleep(AGAIN_SECONDS)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _payload(task: Task[Any], taken: Taken) -> Any:
    if taken.attempt > task.attempts:
        # Each attempt was counted when it began, and none of them has come to an end.
        raise _UnfitError("its processes ended, or lost their leases, while it ran")
    try:
        return task.payload.model_validate_json(taken.payload)
    except ValidationError as error:
        # Without its values: they may be secret.
        places = (f"{'.'.join(map(str, each['loc'])) or 'payload'}: {each['msg']}" for each in error.errors())
        raise _UnfitError(f"its payload is not valid: {'; '.join(places)}") from None
