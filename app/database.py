"""The database: engine, sessions, and what it means that it cannot be reached."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from sqlalchemy import MetaData, event, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.problems import Problem
from app.settings import Settings

log = structlog.get_logger("app.database")

# SQLSTATE classes that say the server cannot serve now, not that we asked wrongly:
# 08 connection, 25006 read only (a former primary), 53 resources, 57 shutdown or timeout.
UNAVAILABLE = ("08", "25006", "53", "57")


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
    def __init__(self, settings: Settings) -> None:
        self.engine = create_engine(settings)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        # A pool of its own: requests that use up the other one must not make the pod unready.
        self._check_engine = create_engine(settings, pool_size=1, max_overflow=0)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session, closed (and rolled back unless committed) at the end.

        Raises:
            DatabaseUnavailableError: the server cannot be reached or cannot serve now.
        """
        try:
            async with self._sessions() as session:
                yield session
        except (OSError, PoolTimeoutError, DBAPIError) as error:
            if not is_unavailable(error):
                raise
            log.warning("database unavailable", cause=repr(error))
            raise DatabaseUnavailableError from error

    async def check(self) -> None:
        async with self._check_engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
        await self._check_engine.dispose()


def create_engine(settings: Settings, **options: Any) -> AsyncEngine:
    """An engine with the pool and the time-outs of `settings`; `options` go to SQLAlchemy."""
    if settings.is_sqlite:
        options = {"poolclass": options["poolclass"]} if "poolclass" in options else {}
        engine = create_async_engine(settings.database, **options)
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        return engine
    if options.get("poolclass") is not NullPool:
        options = {
            "pool_size": settings.database_pool_size,
            "max_overflow": settings.database_pool_overflow,
            "pool_timeout": settings.database_pool_timeout_seconds,
            "pool_pre_ping": True,
            "pool_recycle": 1800,
        } | options
    timeout = settings.database_statement_timeout_seconds
    connect_args = {
        "timeout": settings.database_connect_timeout_seconds,
        "command_timeout": timeout + 1,  # for a server that no longer answers at all
        "server_settings": {
            "application_name": "shipshape",
            "statement_timeout": str(int(timeout * 1000)),
        },
    } | options.pop("connect_args", {})
    return create_async_engine(settings.database, connect_args=connect_args, **options)


def is_unavailable(error: BaseException) -> bool:
    """Whether `error` is the database's absence, and may pass, rather than a mistake of ours."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OSError | PoolTimeoutError)
    state = getattr(error.orig, "sqlstate", None)
    if state:
        return str(state).startswith(UNAVAILABLE)
    return error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)


def _set_up_sqlite(connection: Any, _record: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
