"""Deletes tasks that are done, several at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from keel.tasks.store import LostLeaseError, Taken

Delete = Callable[[Sequence[Taken]], Awaitable[set[str]]]


class Finisher:
    """Deletes in one statement what was done while the one before ran, so a busy queue needs fewer of them."""

    def __init__(self, delete: Delete) -> None:
        self._delete = delete
        self._waiting: list[tuple[Taken, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def finish(self, taken: Taken) -> None:
        """Return when the task is deleted.

        Raises:
            LostLeaseError: it is no longer ours.
            DatabaseUnavailableError: it may have been deleted all the same.
        """
        deleted = asyncio.get_running_loop().create_future()
        self._waiting.append((taken, deleted))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        if not await deleted:
            raise LostLeaseError

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                gone = await self._delete([taken for taken, _ in batch])
            except Exception as error:
                for _, deleted in batch:
                    if not deleted.done():  # its task was cancelled
                        deleted.set_exception(error)
            else:
                for taken, deleted in batch:
                    if not deleted.done():
                        deleted.set_result(taken.id in gone)
