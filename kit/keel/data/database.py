"""The database: connections to read, transactions to write, and one error for every way it can be unavailable."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import CursorResult, Executable, MetaData, Row, text
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from keel.data.async_engine import AsyncConnection, AsyncEngine
from keel.data.database_admission import Admission
from keel.data.database_engine import FollowedUrl, connecting, create_engine
from keel.data.database_metrics import DatabaseMetrics
from keel.data.database_pool import ServerFullError
from keel.data.database_tracing import trace_statements
from keel.data.schema import Schema
from keel.dialects import Dialect, Failure
from keel.errors.problems import Problem
from keel.observability import tracing
from keel.observability.probes import NotFitError
from keel.settings import Settings

log = structlog.get_logger("keel.data.database")

Values = Mapping[str, Any] | None


# The metadata of all tables. Constraints are named by convention, so that migrations can refer to them.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_N_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class DatabaseUnavailableError(Problem):
    """The database cannot serve now: a 503. `reason` is one of keel.data.database_metrics.REASONS."""

    def __init__(self, reason: str = "unreachable") -> None:
        detail = {
            "read_only": "The database accepts no changes at the moment.",
            "schema": "The database does not have the schema of this version yet.",
            "exhausted": "The database has no free connection.",
        }.get(reason, "The database cannot be reached.")
        super().__init__(503, f"{detail} Try again soon.", {"Retry-After": "2"})


class Reading:
    """A connection to read with."""

    def __init__(self, connection: AsyncConnection, dialect: Dialect, *, again: bool) -> None:
        self._connection = connection
        self._dialect = dialect
        self._again = again

    async def execute(self, statement: Executable, values: Values = None) -> CursorResult[Any]:
        """Execute `statement`, and a second time if its plan is from before a migration.

        The driver discards its plans after that error, and nothing was read yet. Within a transaction there is no
        second time, because the error has ended the transaction.
        """
        try:
            return await self._connection.execute(statement, values)
        except DBAPIError as error:
            if not self._again or self._dialect.code(error) != self._dialect.stale_plan:
                raise
        return await self._connection.execute(statement, values)

    async def scalar(self, statement: Executable, values: Values = None) -> Any:
        """The first column of the first row; None if there is no row."""
        return (await self.execute(statement, values)).scalar()


class Database:
    """Transactions and connections from one pool.

    A broken connection is discarded; the request that used it gets DatabaseUnavailableError (503).
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        url = None if settings.dialect.is_file else FollowedUrl.of(settings)
        self.engine = create_engine(settings, url=url, first=False)
        self.dialect = settings.dialect
        self._metrics = DatabaseMetrics(self.engine, registry)
        if tracing.is_on(settings):
            trace_statements(self.engine, self.dialect)
        pooled = settings.database_pooler == "transaction"
        # Each statement is a transaction by itself (autocommit), where that costs nothing. Not through a pooler, where
        # only a transaction keeps a statement and its time-outs on one server connection.
        in_transactions = pooled or not self.dialect.autocommits
        self._in_transactions = in_transactions
        self._single = self.engine if in_transactions else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._time_outs = text(self.dialect.set_time_outs(connecting(settings))) if pooled else None
        self._admission = Admission.of_pool(
            settings.database_pool_size, settings.database_pool_overflow, settings.database_pool_timeout_seconds
        )
        self._read_only = text(query) if (query := self.dialect.read_only_query) else None
        self._schema = Schema(settings.product, self.dialect, registry)
        self._package = settings.product.package
        # The health check has a pool of its own: requests that exhaust the other must not fail the check.
        self._check_engine = create_engine(settings, url=url, pool_size=1, max_overflow=0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is rolled back at the end unless it was committed.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now. If this happened during the
                commit, the transaction may have been committed.
        """
        async with self._writing(self.engine) as connection:
            yield connection

    async def write(self, statement: Executable, values: Values = None) -> Row[Any] | None:
        """Execute one statement in a transaction of its own; returns its row, if it returns one.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now. The statement may have been
                executed all the same.
        """
        return next(iter(await self.write_rows(statement, values)), None)

    async def write_rows(self, statement: Executable, values: Values = None) -> Sequence[Row[Any]]:
        """As `write`, for a statement that may return several rows."""
        async with self._writing(self._single) as connection:
            result = await connection.execute(statement, values)
            rows = result.all() if result.returns_rows else []
            await connection.commit()  # sends nothing where autocommit is on
        return rows

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """A connection to read with: each statement is a transaction of its own, and one round trip.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now.
        """
        with self._translating_errors():
            started = perf_counter()
            await self._admission.enter(to_write=False)
            try:
                async with self._single.connect() as connection:
                    self._metrics.wait.observe(perf_counter() - started)
                    if self._time_outs is not None:
                        await connection.execute(self._time_outs)
                    yield Reading(connection, self.dialect, again=not self._in_transactions)
            finally:
                self._admission.leave(to_write=False)

    async def check(self) -> None:
        """Check that the database can be reached and written to, and has a schema that this version works with.

        Raises:
            NotFitError: it takes no writes, or has another schema.
            Exception: it cannot be reached.
        """
        async with self._check_engine.connect() as connection:
            if self._read_only is not None and await connection.scalar(self._read_only):
                await connection.invalidate()  # the next connection resolves the name again
                raise NotFitError("it is read-only: is it a former primary?")
            await self._schema.check(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
        await self._check_engine.dispose()

    @asynccontextmanager
    async def _writing(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        with self._translating_errors():
            started = perf_counter()
            await self._admission.enter(to_write=True)
            try:
                async with engine.connect() as connection:
                    await self._begin(connection)
                    self._metrics.wait.observe(perf_counter() - started)
                    yield connection
            finally:
                self._admission.leave(to_write=True)

    async def _begin(self, connection: AsyncConnection) -> None:
        """Send a first statement, and send it again on a new connection if the server has closed this one.

        The driver notices a closed connection only when it is used. No other statement was sent, so none runs twice.
        """
        first = text("SELECT 1") if self._time_outs is None else self._time_outs
        try:
            await connection.execute(first)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            await connection.rollback()
            await connection.execute(first)

    @contextmanager
    def _translating_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, PoolTimeoutError, StatementError) as error:
            reason = unavailable_reason(error, self.dialect)
            if reason is None:
                raise
            self._metrics.unavailable.labels(reason).inc()
            log.warning(
                "database unavailable",
                reason=reason,
                cause=repr(getattr(error, "orig", None) or error),
                **self._advice(error, reason),
            )
            raise DatabaseUnavailableError(reason) from error

    def _advice(self, error: BaseException, reason: str) -> dict[str, str]:
        """What an operator can do about an error, for the log; empty if that is not known."""
        if reason == Failure.SCHEMA:
            return {"advice": f"run: python -m {self._package} migrate"}
        if reason == Failure.EXHAUSTED:
            return {"advice": "lower APP_DATABASE_POOL_SIZE and APP_DATABASE_POOL_OVERFLOW, or raise max_connections"}
        found = self.dialect.advice(error)
        return {"advice": found} if found else {}


def unavailable_reason(error: BaseException, dialect: Dialect) -> str | None:
    """Why the database is unavailable: one of keel.data.database_metrics.REASONS.

    None if the error will not pass by itself, as that of a wrong statement.
    """
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        # Within a statement, SQLAlchemy wraps what it raises as it is when a connection is opened before one.
        return unavailable_reason(error.orig, dialect) if error.orig else None
    if isinstance(error, ServerFullError):
        return Failure.EXHAUSTED
    if isinstance(error, PoolTimeoutError):
        return "pool_timeout"
    if isinstance(error, OSError):
        return Failure.UNREACHABLE
    return dialect.failure(error)
