"""Schema migrations: Alembic without an alembic.ini, from any working directory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.data import compatibility
from app.data.async_engine import AsyncConnection, AsyncEngine
from app.data.database import METADATA
from app.data.database_engine import create_engine
from app.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger("app.data.migrate")

SCRIPTS = Path(__file__).parent.parent / "migrations"
LOCK = 0x73686970  # "ship": any number, as long as every release uses the same
POLL_SECONDS = 0.5


class MigrationError(Exception):
    """The message is a sentence that says what to do."""


class Deadline:
    """The end of APP_MIGRATE_WAIT_SECONDS, for all that is waited for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    async def poll(self, sorry: str) -> None:
        """Wait a little before the next attempt.

        Raises:
            MigrationError: saying `sorry`, if there is no time for another one.
        """
        if asyncio.get_running_loop().time() >= self._at:
            raise MigrationError(sorry)
        await asyncio.sleep(POLL_SECONDS)


async def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision, waiting for it and for whoever else is at it.

    Raises:
        MigrationError: it stays unreachable or locked for APP_MIGRATE_WAIT_SECONDS, or is newer than this version
            works with.
    """
    # No time-out but that for connecting: a migration may run long.
    unhurried = {"command_timeout": None, "server_settings": {"application_name": "shipshape-migrate"}}
    engine = create_engine(settings, poolclass=NullPool, connect_args=unhurried)
    deadline = Deadline(settings.migrate_wait_seconds)
    try:
        await (_open_file(engine) if settings.is_sqlite else _reach(engine, deadline))
        async with engine.connect() as connection, _lock(connection, deadline):
            try:
                await upgrade(engine)
            except compatibility.AheadError as error:
                raise MigrationError(str(error)) from error
            except DBAPIError as error:
                raise MigrationError(
                    f"The migration failed, and what it had not finished was taken back: {error.orig}. "
                    "If it waited for a lock, run it again when the table is less busy."
                ) from error
    finally:
        await engine.dispose()


async def upgrade(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.run_sync(_upgrade)
        await connection.commit()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # 0.1 s and 10 MB that no server needs
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = alembic_config(connection)
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise MigrationError(
            f"The database is at several revisions ({', '.join(sorted(heads))}): restore it from a backup."
        )
    newer = compatibility.ahead(connection, ScriptDirectory.from_config(config), heads)
    connection.rollback()  # Alembic begins its transactions itself
    if newer:
        log.warning("the database is newer than this version, which works with it", revision=newer)
    else:
        command.upgrade(config, "head")


def alembic_config(connection: Connection) -> "Config":
    """Alembic's configuration for its commands, on an open connection."""
    from alembic.config import Config  # noqa: PLC0415  # likewise

    config = Config(attributes={"connection": connection, "metadata": METADATA})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


async def _open_file(engine: AsyncEngine) -> None:
    import sqlite3  # noqa: PLC0415  # 1 MB that no server with PostgreSQL needs

    try:
        with contextlib.closing(sqlite3.connect(str(engine.url.database))) as connection:
            connection.execute("PRAGMA schema_version")  # which reads the file
    except sqlite3.OperationalError as error:
        raise MigrationError(
            f"APP_DATABASE_URL: cannot open {engine.url.database}: {error}. "
            "Name a file in a directory that exists and may be written to."
        ) from error
    except sqlite3.DatabaseError as error:
        raise MigrationError(
            f"APP_DATABASE_URL: {engine.url.database} is something else than a database: {error}. "
            "Name another file; a new one is made."
        ) from error


async def _reach(engine: AsyncEngine, deadline: Deadline) -> None:
    url = engine.url.render_as_string(hide_password=True)
    while True:
        try:
            async with engine.connect():
                return
        except (OSError, DBAPIError) as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error) or "no answer"
        log.info("waiting for the database", url=url, reason=reason)
        await deadline.poll(
            f"APP_DATABASE_URL: cannot connect to {url} within {deadline.seconds:g} s: {reason}. "
            "Check the address, the user and the password, and that the database is up."
        )


@asynccontextmanager
async def _lock(connection: AsyncConnection, deadline: Deadline) -> AsyncIterator[None]:
    """PostgreSQL's advisory lock, held by a transaction: with a pooler in between, a session's would be left behind.

    Asked for again and again rather than waited for: a statement that waits holds a snapshot, and
    CREATE INDEX CONCURRENTLY in the migration that holds the lock would wait for that in turn.
    """
    if connection.dialect.name == "sqlite":
        yield
        return
    while not await connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({LOCK})")):
        await connection.rollback()
        log.info("waiting for another migration")
        await deadline.poll(
            f"Another migration has held the database's lock for {deadline.seconds:g} s. "
            "Wait for it to end, or raise APP_MIGRATE_WAIT_SECONDS."
        )
    # As a simple query it also closes the portal of the statement before (PostgreSQL, 55.2.3), which has a snapshot.
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    yield
    await connection.rollback()
