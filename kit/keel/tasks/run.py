"""One attempt at a task, as its handler sees it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from keel.data.async_engine import AsyncConnection
from keel.tasks.store import Taken, TaskStore


class Run:
    """One attempt at a task."""

    def __init__(self, store: TaskStore, taken: Taken) -> None:
        self._store = store
        self._taken = taken
        self.finished = False
        """Whether the task is done and deleted."""

    @property
    def id(self) -> str:
        """The same for each attempt: an idempotency key for calls of other services."""
        return self._taken.id

    @property
    def attempt(self) -> int:
        """Counts from 1."""
        return self._taken.attempt

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that also finishes the task, and commits at its end: what is changed in it is changed once.

        Raises:
            LostLeaseError: another process has taken the task. The transaction is rolled back.
            DatabaseUnavailableError: as `Database.transaction` does.
        """
        async with self._store.database.transaction() as connection:
            yield connection
            await self._store.finish(connection, self._taken)
            await connection.commit()
        self.finished = True


Handler = Callable[[Any, Run], Awaitable[None]]
"""Does a task. It gets the payload and the Run. It is done when it returns, and tried again when it raises."""
