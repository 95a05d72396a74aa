"""The database: sessions to change it, connections to read it, and what it means that it cannot be reached."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase

from app.data.database_engine import create_engine
from app.data.database_metrics import DatabaseMetrics
from app.data.database_tracing import trace_statements
from app.errors.problems import Problem
from app.observability import tracing
from app.settings import Settings

log = structlog.get_logger("app.data.database")

# SQLSTATE classes that say the server cannot serve now, not that we asked wrongly: 08 connection, 25006 read only (a
# former primary), 25P03 idle too long, 28 password (it is being changed), 40 deadlock, 53 resources, 55P03 lock,
# 57 shutdown or time-out, 58 the server's own disk.
UNAVAILABLE = ("08", "25006", "25P03", "28", "40", "53", "55P03", "57", "58")
STATEMENT_TIMEOUT = "57014"


class Base(DeclarativeBase):
    """Base of every table. Names are given by convention, so that migrations can address them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class DatabaseUnavailableError(Problem):
    def __init__(self) -> None:
        super().__init__(503, "The database cannot be reached. Try again soon.", {"Retry-After": "2"})


class Database:
    """Connections are replaced as they fail; whoever used one that failed gets DatabaseUnavailableError, once."""

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        self.engine = create_engine(settings)
        self._metrics = DatabaseMetrics(self.engine, registry or CollectorRegistry())
        if tracing.is_on(settings):
            trace_statements(self.engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # SQLite needs no transaction to read, and to change the mode of a connection is a way to its thread and back.
        self._reads = self.engine if settings.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # Writers that wait for a lock must not take the last connection from the readers.
        size, overflow = settings.database_pool_size, settings.database_pool_overflow
        self._writers = asyncio.Semaphore(max(1, min(size, size + overflow - 1)))
        self._patience = settings.database_pool_timeout_seconds
        # A pool of its own: requests that use up the other one must not make the pod unready.
        self._check_engine = create_engine(settings, pool_size=1, max_overflow=0)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session, closed (and rolled back unless committed) at the end.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now. If a commit was under way,
                it may have happened.
        """
        with self._translating_errors():
            started = perf_counter()
            await self._wait_to_write()
            try:
                async with self._sessions() as session:
                    await self._begin(session)
                    self._metrics.wait.observe(perf_counter() - started)
                    yield session
            finally:
                self._writers.release()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with: each statement is a transaction of its own, and one round trip.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now.
        """
        with self._translating_errors():
            started = perf_counter()
            async with self._reads.connect() as connection:
                self._metrics.wait.observe(perf_counter() - started)
                yield connection

    async def check(self) -> None:
        async with self._check_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        await self._check_engine.dispose()

    async def _begin(self, session: AsyncSession) -> None:
        """Begin the transaction; once more on another connection if the server has just closed this one.

        The driver does not know of that before it is used. Nothing has been done yet, so nothing is done twice.
        """
        try:
            await session.execute(text("SELECT 1"))
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await session.rollback()
            await session.execute(text("SELECT 1"))

    async def _wait_to_write(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await self._writers.acquire()
        except TimeoutError:
            raise PoolTimeoutError(f"too many write for {self._patience:g} s") from None

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, PoolTimeoutError, DBAPIError) as error:
            if not is_unavailable(error):
                raise
            reason = unavailable_reason(error)
            self._metrics.unavailable.labels(reason).inc()
            log.warning("database unavailable", reason=reason, cause=repr(getattr(error, "orig", None) or error))
            raise DatabaseUnavailableError from error


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` is the database's absence, and may pass, rather than a mistake of ours."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError | PoolTimeoutError)
    if state := _sqlstate(error):
        return state.startswith(UNAVAILABLE)
    return error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)


def unavailable_reason(error: BaseException) -> str:
    """`pool_timeout`, `statement_timeout` or `unreachable`."""
    if isinstance(error, PoolTimeoutError):
        return "pool_timeout"
    return "statement_timeout" if _sqlstate(error) == STATEMENT_TIMEOUT else "unreachable"


def _sqlstate(error: BaseException) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
