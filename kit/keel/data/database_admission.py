"""Who may have a connection next: those who came first, but for writers where too many are writing already.

A pool alone is fair to those who wait for it. Writers must not take its last connection from the readers, as they may
all wait for one lock. With a limit of their own before the pool's, they would wait twice: for another writer to end,
and then behind all readers that came meanwhile. Here both wait in one order.
"""

import asyncio
from collections import deque
from itertools import count

from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keel.patience import Patience


class Admission:
    """Admits as many at once as the pool has `connections`, and no more than `writers` of these to write.

    Of one event loop. Who waits longer than `seconds` gets PoolTimeoutError, SQLAlchemy's own of a pool.
    """

    def __init__(self, connections: int, writers: int, seconds: float) -> None:
        self._seconds = seconds
        self._read = _Kind(connections)
        self._write = _Kind(writers)
        self._free = connections
        self._numbers = count()

    @classmethod
    def of_pool(cls, size: int, overflow: int, seconds: float) -> "Admission":
        """For a pool's size and its overflow: writers leave one connection to the readers, if there is another."""
        return cls(size + overflow, max(1, min(size, size + overflow - 1)), seconds)

    async def enter(self, *, to_write: bool) -> None:
        """Wait for a turn. Whoever has had one must `leave`.

        Raises:
            PoolTimeoutError: none came in time.
        """
        kind = self._write if to_write else self._read
        if self._free and kind.free:  # nobody waits who could have had it
            self._take(kind)
            return
        turn = asyncio.get_running_loop().create_future()
        kind.waiting.append((next(self._numbers), turn))
        try:
            async with Patience(self._seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # it came in the same moment
                self.leave(to_write=to_write)
            if isinstance(error, TimeoutError):
                doing = "writing" if to_write else "reading and writing"
                raise PoolTimeoutError(f"too many others were {doing} for {self._seconds:g} s") from None
            raise

    def leave(self, *, to_write: bool) -> None:
        """Give the turn to whoever is next."""
        self._free += 1
        (self._write if to_write else self._read).free += 1
        while self._free and (kind := self._next()):
            _, turn = kind.waiting.popleft()
            self._take(kind)
            turn.set_result(None)

    def _take(self, kind: "_Kind") -> None:
        self._free -= 1
        kind.free -= 1

    def _next(self) -> "_Kind | None":
        """The kind of which the one is that has waited longest, of those that may be admitted."""
        waiting = [(number, kind) for kind in (self._read, self._write) if (number := kind.first()) is not None]
        return min(waiting, key=lambda each: each[0])[1] if waiting else None


class _Kind:
    """Readers or writers: how many more may be admitted, and who waits."""

    def __init__(self, most: int) -> None:
        self.free = most
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def first(self) -> int | None:
        """The number of the first, if one waits who may be admitted. Those who have given up are forgotten."""
        while self.waiting and self.waiting[0][1].done():
            self.waiting.popleft()
        return self.waiting[0][0] if self.waiting and self.free else None
