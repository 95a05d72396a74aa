from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool


class OpenPool(AsyncAdaptedQueuePool):
    """A pool that others may give connections from in another way."""

    def acquire(self) -> ConnectionPoolEntry:
        """A connection: one of the pool's, or a new one, or the next one that comes back."""
        return super()._do_get()

    def wait_for_returned(self) -> ConnectionPoolEntry:
        """The next connection that comes back. Raises sqlalchemy.util.queue.Empty if none does in time."""
        return self._pool.get(True, self._timeout)

    @property
    def wait_seconds(self) -> float:
        """How many seconds `wait` waits."""
        return self._timeout

    def _do_get(self) -> ConnectionPoolEntry:
        return self.acquire()


def max_connections(pool: QueuePool) -> int:
    """How many connections there can be."""
    return pool.size() + pool._max_overflow
