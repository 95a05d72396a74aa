"""Puts the tasks of schedules when their times have come."""

from collections.abc import Sequence
from time import time

import structlog

from keel.data.database import DatabaseUnavailableError
from keel.tasks.store import TaskStore
from keel.tasks.task import Schedule

log = structlog.get_logger("keel.tasks")


class Schedules:
    """The schedules of one process.

    Each process watches all of them. The first one to write down that a time has come puts its task, so none of them
    has to be the leader.
    """

    def __init__(self, store: TaskStore, schedules: Sequence[Schedule]) -> None:
        self._store = store
        self._schedules = schedules
        self._next: dict[str, float] = {}

    async def put_due(self) -> None:
        """Put the tasks whose times have come since the last call. It does not raise."""
        for schedule in self._schedules:
            try:
                await self._put(schedule)
            except DatabaseUnavailableError:
                return  # the database has logged it, and it may pass
            except Exception:
                log.exception("a scheduled task cannot be put", task=schedule.task.name)

    async def _put(self, schedule: Schedule) -> None:
        name, now = schedule.task.name, time()
        if name not in self._next:
            self._next[name] = schedule.after(await self._store.begin_schedule(schedule))
        due = self._next[name]
        if due > now:
            return
        # Of the times that nobody was there for, only the last one.
        while (later := schedule.after(due)) <= now:
            due = later
        if await self._store.put_scheduled(schedule, due):
            log.info("scheduled task put", task=name)
        self._next[name] = later
