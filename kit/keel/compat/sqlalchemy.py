from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool


class OpenPool(AsyncAdaptedQueuePool):
    """A pool that others may give connections from in another way."""

    def give(self) -> ConnectionPoolEntry:
        """A connection: one of the pool's, or a new one, or the next one that comes back."""
        return super()._do_get()

    def wait(self) -> ConnectionPoolEntry:
        """The next connection that comes back. Raises sqlalchemy.util.queue.Empty if none does in time."""
        return self._pool.get(True, self._timeout)

    @property
    def patience(self) -> float:
        """How many seconds `wait` waits."""
        return self._timeout

    def _do_get(self) -> ConnectionPoolEntry:
        return self.give()


def most(pool: QueuePool) -> int:
    """How many connections there can be."""
    return pool.size() + pool._max_overflow
