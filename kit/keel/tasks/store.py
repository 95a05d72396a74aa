"""The queue's statements. Each is one change of one or more rows, and safe with any number of processes."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from keel.data.async_engine import AsyncConnection
from keel.data.database import Database
from keel.data.upsert import insert
from keel.observability import tracing
from keel.tasks.tables import MAX_ERROR_CHARACTERS, SCHEDULES, TASKS
from keel.tasks.task import Payload, Schedule, Task


class LostLeaseError(Exception):
    """Another process has taken the task, because this one has not renewed the lease in time."""


@dataclass(frozen=True)
class Taken:
    """A task that this process may run until its lease ends."""

    id: str
    name: str
    payload: str
    attempt: int
    """Counts from 1."""
    traceparent: str | None
    lease: str


@dataclass(frozen=True)
class Failed:
    """A task that has failed for good."""

    id: str
    name: str
    payload: str
    attempts: int
    error: str | None


@dataclass(frozen=True)
class Count:
    """How many tasks of one name there are."""

    waiting: int
    """Not failed for good: due, due later, or running."""
    failed: int
    oldest_seconds: float
    """For how long the oldest one that could be taken has waited; 0 if there is none."""


class TaskStore:
    """Tasks in the service's database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._now = database.dialect.unix_time()

    async def put(
        self,
        connection: AsyncConnection,
        task: Task[Payload],
        payload: Payload,
        *,
        key: str | None = None,
        delay_seconds: float = 0,
    ) -> bool:
        """Put a task, in the transaction of `connection`: it exists if that is committed.

        Args:
            connection: from `Database.transaction`.
            task: what is to be done.
            payload: what the task needs to know.
            key: puts nothing if a task of this name and key is waiting or running.
            delay_seconds: the earliest time for the task to run, from now.

        Returns:
            Whether it was put.
        """
        values = {
            "id": uuid.uuid4().hex,
            "name": task.name,
            "payload": payload.model_dump_json(),
            "key": key,
            "traceparent": tracing.current_traceparent(),
            "put_at": self._now,
            "due": self._now + delay_seconds,
            "attempts": 0,
        }
        statement = insert(self.database.dialect, TASKS).values(values).on_conflict_do_nothing().returning(TASKS.c.id)
        return await connection.scalar(statement) is not None

    async def take(self, names: Iterable[str], limit: int, lease_seconds: float) -> list[Taken]:
        """Take the tasks of these names that are due, the oldest first, and count an attempt for each."""
        due = (
            select(TASKS.c.id)
            .where(TASKS.c.due <= self._now, TASKS.c.name.in_(sorted(names)))
            .order_by(TASKS.c.due)
            .limit(limit)
            .with_for_update(skip_locked=True)  # those that other processes are taking
            .cte("due_tasks")  # not a subquery: PostgreSQL may evaluate that one several times, and lock more rows
        )
        lease = uuid.uuid4().hex
        statement = (
            update(TASKS)
            .where(TASKS.c.id == due.c.id)
            .values(due=self._now + lease_seconds, lease=lease, attempts=TASKS.c.attempts + 1)
            .returning(TASKS.c.id, TASKS.c.name, TASKS.c.payload, TASKS.c.attempts, TASKS.c.traceparent, TASKS.c.lease)
        )
        rows: Sequence[Any] = await self.database.write_rows(statement)
        return [Taken(*row) for row in rows]

    async def renew(self, taken: Sequence[Taken], lease_seconds: float) -> set[str]:
        """Renew the leases; returns the ids of the tasks whose leases are still ours."""
        statement = update(TASKS).where(*_any_of(taken)).values(due=self._now + lease_seconds).returning(TASKS.c.id)
        return {row.id for row in await self.database.write_rows(statement)}

    async def finish_all(self, taken: Sequence[Taken]) -> set[str]:
        """Delete tasks that are done; returns the ids of those that were still ours."""
        statement = delete(TASKS).where(*_any_of(taken)).returning(TASKS.c.id)
        return {row.id for row in await self.database.write_rows(statement)}

    async def finish(self, connection: AsyncConnection, taken: Taken) -> None:
        """Delete a task that is done, in the transaction of `connection`.

        Raises:
            LostLeaseError: it is no longer ours.
        """
        if await connection.scalar(delete(TASKS).where(*_ours(taken)).returning(TASKS.c.id)) is None:
            raise LostLeaseError

    async def retry(self, taken: Taken, delay_seconds: float, error: str) -> None:
        """Give a task back whose attempt has failed.

        Raises:
            LostLeaseError: it is no longer ours.
        """
        await self._give_back(taken, due=self._now + delay_seconds, error=error[:MAX_ERROR_CHARACTERS])

    async def give_up(self, taken: Taken, error: str) -> None:
        """Keep a task as failed for good.

        Raises:
            LostLeaseError: it is no longer ours.
        """
        await self._give_back(taken, due=None, key=None, error=error[:MAX_ERROR_CHARACTERS])

    async def put_back(self, taken: Taken, delay_seconds: float = 0) -> None:
        """Give a task back that was not finished and has not failed: the attempt does not count.

        Raises:
            LostLeaseError: it is no longer ours.
        """
        await self._give_back(taken, due=self._now + delay_seconds, attempts=TASKS.c.attempts - 1)

    async def counts(self) -> dict[str, Count]:
        """How many tasks there are, by name."""
        waiting = func.count(TASKS.c.due)
        oldest = func.coalesce(self._now - func.min(TASKS.c.due), 0.0)
        statement = select(TASKS.c.name, waiting, func.count() - waiting, oldest).group_by(TASKS.c.name)
        async with self.database.reading() as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
        return {name: Count(waits, failed, max(0.0, seconds)) for name, waits, failed, seconds in rows}

    async def failed(self, limit: int) -> list[Failed]:
        """The tasks that have failed for good, the oldest first."""
        columns = (TASKS.c.id, TASKS.c.name, TASKS.c.payload, TASKS.c.attempts, TASKS.c.error)
        statement = select(*columns).where(TASKS.c.due.is_(None)).order_by(TASKS.c.put_at).limit(limit)
        async with self.database.reading() as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
        return [Failed(*row) for row in rows]

    async def try_again(self, ids: Sequence[str]) -> int:
        """Let failed tasks run again, with all their attempts; returns how many."""
        statement = update(TASKS).where(TASKS.c.id.in_(ids), TASKS.c.due.is_(None)).returning(TASKS.c.id)
        return len(await self.database.write_rows(statement.values(due=self._now, attempts=0)))

    async def drop(self, ids: Sequence[str]) -> int:
        """Delete failed tasks; returns how many."""
        statement = delete(TASKS).where(TASKS.c.id.in_(ids), TASKS.c.due.is_(None)).returning(TASKS.c.id)
        return len(await self.database.write_rows(statement))

    async def begin_schedule(self, schedule: Schedule) -> float:
        """The time up to which a schedule has put its tasks: now, if it is new."""
        name = schedule.task.name
        new = insert(self.database.dialect, SCHEDULES).values(name=name, done_until=self._now)
        async with self.database.transaction() as connection:
            await connection.execute(new.on_conflict_do_nothing())
            until: Any = await connection.scalar(select(SCHEDULES.c.done_until).where(SCHEDULES.c.name == name))
            await connection.commit()
        return float(until)

    async def put_scheduled(self, schedule: Schedule, at: float) -> bool:
        """Put the task that is scheduled for a time; returns False if another process has done so."""
        task = schedule.task
        first = update(SCHEDULES).where(SCHEDULES.c.name == task.name, SCHEDULES.c.done_until < at)
        async with self.database.transaction() as connection:
            if await connection.scalar(first.values(done_until=at).returning(SCHEDULES.c.name)) is None:
                return False
            # By the key, the tasks of a slow one do not pile up.
            put = await self.put(connection, task, task.payload(), key="schedule")
            await connection.commit()
        return put

    async def _give_back(self, taken: Taken, **values: Any) -> None:
        statement = update(TASKS).where(*_ours(taken)).values(lease=None, **values).returning(TASKS.c.id)
        if not await self.database.write_rows(statement):
            raise LostLeaseError


def _ours(taken: Taken) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return TASKS.c.id == taken.id, TASKS.c.lease == taken.lease


def _any_of(taken: Sequence[Taken]) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    # No process has one task under two of its leases, so the two lists need no pairs.
    return TASKS.c.id.in_([each.id for each in taken]), TASKS.c.lease.in_({each.lease for each in taken})
