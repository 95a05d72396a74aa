from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry, QueuePool


class OpenPool(AsyncAdaptedQueuePool):
    """A pool whose subclasses may decide where a connection comes from."""

    def acquire(self) -> ConnectionPoolEntry:
        """A connection: an idle one, a new one, or the next one that is returned."""
        return super()._do_get()

    def wait_for_returned(self) -> ConnectionPoolEntry:
        """The next connection that is returned; raises sqlalchemy.util.queue.Empty if none is in time."""
        return self._pool.get(True, self._timeout)

    @property
    def wait_seconds(self) -> float:
        """How long `wait_for_returned` waits."""
        return self._timeout

    def _do_get(self) -> ConnectionPoolEntry:
        return self.acquire()


def max_connections(pool: QueuePool) -> int:
    """How many connections a pool may have open."""
    return pool.size() + pool._max_overflow
