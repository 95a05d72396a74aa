"""Schema migrations by Alembic, without an alembic.ini, from any working directory."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from keel.data import compatibility
from keel.data.async_engine import AsyncConnection, AsyncEngine
from keel.data.database import METADATA
from keel.data.database_engine import create_engine
from keel.data.schema import known_revisions
from keel.dialects import Dialect
from keel.product import Product
from keel.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

log = structlog.get_logger("keel.data.migrate")

ENVIRONMENT = Path(__file__).parent / "alembic"  # how Alembic is run; the migrations belong to the service
LOCK = 0x73686970  # "ship": any number, as long as every release uses the same
POLL_SECONDS = 0.5


class MigrationError(Exception):
    """The message is a sentence that says what to do."""


class Deadline:
    """The end of APP_MIGRATE_WAIT_SECONDS, which all waiting of one run shares."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = asyncio.get_running_loop().time() + seconds

    async def poll(self, timeout_message: str) -> None:
        """Wait a little before the next attempt.

        Raises:
            MigrationError: with `timeout_message`, if there is no time for another attempt.
        """
        if asyncio.get_running_loop().time() >= self._at:
            raise MigrationError(timeout_message)
        await asyncio.sleep(POLL_SECONDS)


async def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision. Wait for the database, and for another migration that is running.

    Raises:
        MigrationError: the database stays unreachable or locked for APP_MIGRATE_WAIT_SECONDS, a migration fails, or
            this version does not work with the database's revision.
    """
    migrations_of(settings.product)  # raises
    dialect = settings.dialect
    engine = create_engine(settings, migrates=True)
    deadline = Deadline(settings.migrate_wait_seconds)
    try:
        if dialect.is_file:
            _open_file(engine, dialect)
        else:
            await _reach(engine, deadline)
        async with engine.connect() as connection, _lock(connection, dialect, deadline):
            try:
                await upgrade(engine, settings.product)
            except compatibility.AheadError as error:
                raise MigrationError(str(error)) from error
            except DBAPIError as error:
                raise MigrationError(
                    f"The migration failed, and its unfinished part was rolled back: {error.orig}. "
                    "If it was waiting for a lock, run it again when the table is less busy."
                ) from error
    finally:
        await engine.dispose()


async def upgrade(engine: AsyncEngine, product: Product) -> None:
    """Apply the migrations that the database does not have yet."""
    async with engine.connect() as connection:
        await connection.run_sync(_upgrade, product)
        await connection.commit()


def _upgrade(connection: Connection, product: Product) -> None:
    from alembic import command  # noqa: PLC0415  # 0.1 s and 10 MB that no server needs
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = alembic_config(connection, product)
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise MigrationError(
            f"The database is at several revisions ({', '.join(sorted(heads))}): restore it from a backup."
        )
    newer = compatibility.ahead(connection, ScriptDirectory.from_config(config), heads)
    connection.rollback()  # Alembic begins its transactions itself
    if newer:
        log.warning("the database is newer than this version, but compatible", revision=newer)
    else:
        command.upgrade(config, "head")


def alembic_config(connection: Connection, product: Product) -> "Config":
    """The configuration of Alembic's commands, on an open connection."""
    from alembic.config import Config  # noqa: PLC0415  # likewise

    config = Config(attributes={"connection": connection, "metadata": METADATA})
    config.set_main_option("path_separator", "newline")  # no path has one
    config.set_main_option("script_location", _option(ENVIRONMENT))
    config.set_main_option("version_locations", _option(migrations_of(product)))
    return config


async def new(settings: Settings, text: str) -> Path:
    """Write a migration that brings the schema to what the tables in the code are now; returns its file.

    It compares the tables with an empty SQLite database after all migrations. Read what it writes: it takes a renamed
    column for one that was dropped and one that was added.

    Raises:
        MigrationError: the schema and the tables are the same.
    """
    folder = migrations_of(settings.product)
    with tempfile.TemporaryDirectory() as directory:
        engine = create_engine(
            settings.model_copy(update={"database_url": SecretStr(f"sqlite+aiosqlite:///{directory}/empty.db")})
        )
        try:
            await upgrade(engine, settings.product)
            async with engine.connect() as connection:
                return await connection.run_sync(_write_new, settings.product, text, folder)
        finally:
            await engine.dispose()


def _write_new(connection: Connection, product: Product, text: str, folder: Path) -> Path:
    from alembic import command  # noqa: PLC0415  # as above

    known = known_revisions(folder)
    config = alembic_config(connection, product)
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")

    def only_changes(_context: Any, _revision: Any, directives: list[Any]) -> None:
        if directives[0].upgrade_ops.is_empty():
            raise MigrationError("The migrations already make the tables as they are: there is nothing to write.")

    written = command.revision(
        config,
        text,
        autogenerate=True,
        rev_id=f"{int(known[-1]) + 1 if known else 1:04}",
        version_path=str(folder),
        process_revision_directives=only_changes,
    )
    if written is None or isinstance(written, list):
        raise MigrationError("Alembic has written no migration.")
    file = Path(written.path)
    if ruff := shutil.which("ruff"):  # a development tool that may be missing
        subprocess.run([ruff, "check", "--fix", "--quiet", str(file)], check=False)  # noqa: S603
        subprocess.run([ruff, "format", "--quiet", str(file)], check=False)  # noqa: S603
    return file


def migrations_of(product: Product) -> Path:
    """The folder of a service's migrations.

    Raises:
        MigrationError: the service has no database.
    """
    if product.migrations is None:
        raise MigrationError(f"{product.name} has no database, and so nothing to migrate.")
    return product.migrations


def _option(path: Path) -> str:
    return str(path).replace("%", "%%")  # % begins a reference in Alembic's configuration


def _open_file(engine: AsyncEngine, dialect: Dialect) -> None:
    try:
        dialect.open_file(engine.url)
    except ValueError as error:
        raise MigrationError(f"APP_DATABASE_URL: {error}") from error


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
async def _lock(connection: AsyncConnection, dialect: Dialect, deadline: Deadline) -> AsyncIterator[None]:
    """Hold a lock of the server's, so that only one migration runs at a time."""
    if dialect.is_file:
        yield
        return
    while not await dialect.try_lock(connection, LOCK):
        await connection.rollback()
        log.info("waiting for another migration")
        await deadline.poll(
            f"Another migration has held the database's lock for {deadline.seconds:g} s. "
            "Wait for it to end, or raise APP_MIGRATE_WAIT_SECONDS."
        )
    await dialect.hold_lock(connection)
    yield
    await connection.rollback()
