"""The pool of connections, and what it does when the server is out of connections."""

import logging
import math
from time import monotonic

from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util.queue import Empty

from keel.compat.sqlalchemy import OpenPool
from keel.dialects import Dialect, Failure

RETRY_SECONDS = 1.0  # not every request asks a full server for another connection

logging.getLogger(__name__).setLevel(logging.WARNING)  # as for SQLAlchemy's own pools, which log every step


class ServerFullError(PoolTimeoutError):
    """The server has no connection left, and none of the pool's was free in time."""


class PatientPool(OpenPool):
    """Waits for one of its own connections when the server refuses another one."""

    dialect: Dialect
    """Of the server."""
    refused_at = -math.inf

    def acquire(self) -> ConnectionPoolEntry:
        """A connection of the pool, or a new one if the server has one left."""
        if monotonic() - self.refused_at < RETRY_SECONDS and self._has_some():
            return self._wait_for_ours()
        try:
            return super().acquire()
        except Exception as error:
            if self.dialect.failure(error) is not Failure.EXHAUSTED:
                raise
            self.refused_at = monotonic()
            if not self._has_some():
                raise
            return self._wait_for_ours()

    @classmethod
    def of(cls, dialect: Dialect) -> "type[PatientPool]":
        """The pool for servers of a kind. SQLAlchemy makes pools by itself, from a class."""
        return type(cls.__name__, (cls,), {"dialect": dialect})

    def _has_some(self) -> bool:
        return self.checkedout() + self.checkedin() > 0

    def _wait_for_ours(self) -> ConnectionPoolEntry:
        try:
            return self.wait_for_returned()
        except Empty:
            raise ServerFullError(
                f"the server has no connection left; none of the pool's was free for {self.wait_seconds:g} s"
            ) from None
