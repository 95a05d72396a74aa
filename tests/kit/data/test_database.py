import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from k8s import certificates
from keel.data import migrate
from keel.data.database import Database, DatabaseUnavailableError, unavailable_reason
from keel.dialects import DIALECTS
from keel.observability.probes import NotFitError
from tests.kit.subject import Settings
from tests.support.proxy import proxy
from tests.support.servers import PostgreSQL

pytestmark = pytest.mark.anyio

(POSTGRESQL,) = (dialect for dialect in DIALECTS if dialect.name == "postgresql")
Connect = Callable[[Settings], Database]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Failure(Exception):  # noqa: N818
    def __init__(self, sqlstate: str | None = None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (PoolTimeoutError(), True),
        (DBAPIError("", {}, Failure("57P01")), True),  # admin_shutdown
        (DBAPIError("", {}, Failure("57014")), True),  # query_canceled, as by a statement time-out
        (DBAPIError("", {}, Failure("53300")), True),  # too_many_connections
        (DBAPIError("", {}, Failure("08006")), True),  # connection_failure
        (DBAPIError("", {}, Failure("25006")), True),  # read_only_sql_transaction
        (DBAPIError("", {}, Failure("25P03")), True),  # idle_in_transaction_session_timeout
        (DBAPIError("", {}, Failure("28P01")), True),  # invalid_password
        (DBAPIError("", {}, Failure("40P01")), True),  # deadlock_detected
        (DBAPIError("", {}, Failure("55P03")), True),  # lock_not_available
        (DBAPIError("", {}, Failure("58030")), True),  # io_error
        (InterfaceError("", {}, Failure()), True),
        (OperationalError("", {}, Failure()), True),
        (DBAPIError("", {}, Failure(), connection_invalidated=True), True),
        (DBAPIError("", {}, Failure("25001")), False),
        (ProgrammingError("", {}, Failure("42P01")), True),  # undefined_table, before the migration
        (ProgrammingError("", {}, Failure("42703")), True),  # undefined_column
        (DBAPIError("", {}, Failure("26000")), True),  # invalid_sql_statement_name, of PgBouncer without prepared ones
        (DBAPIError("", {}, Failure("42P05")), True),  # duplicate_prepared_statement
        (DBAPIError("", {}, Failure("0A000")), True),  # "cached plan must not change result type"
        (ProgrammingError("", {}, Failure("42601")), False),  # syntax_error
        (IntegrityError("", {}, Failure("23505")), False),
        (StatementError("", "SELECT 1", {}, ConnectionRefusedError()), True),
        (StatementError("", "SELECT 1", {}, ValueError()), False),
        (IntegrityError("", {}, Failure()), False),
        (ValueError(), False),
    ],
)
def test_absence_is_told_from_mistakes(error: Exception, passes: bool) -> None:
    assert (unavailable_reason(error, POSTGRESQL) is not None) is passes


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PoolTimeoutError(), "pool_timeout"),
        (DBAPIError("", {}, Failure("57014")), "statement_timeout"),
        (DBAPIError("", {}, Failure("25006")), "read_only"),
        (DBAPIError("", {}, Failure("53300")), "exhausted"),
        (ProgrammingError("", {}, Failure("42P01")), "schema"),
        (DBAPIError("", {}, Failure("57P01")), "unreachable"),
        (TimeoutError(), "unreachable"),
    ],
)
def test_why_it_is_unavailable(error: Exception, reason: str) -> None:
    assert unavailable_reason(error, POSTGRESQL) == reason


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes databases that are closed when the test has ended, however it ends."""
    opened: list[Database] = []

    def connect(settings: Settings) -> Database:
        opened.append(Database(settings))
        return opened[-1]

    yield connect
    for database in opened:
        await database.close()


async def ask(database: Database, statement: str) -> object:
    async with database.transaction() as connection:
        return await connection.scalar(text(statement))


async def read(database: Database, statement: str) -> object:
    async with database.reading() as connection:
        return await connection.scalar(text(statement))


async def test_answers(either: Settings, connect: Connect) -> None:
    await migrate.migrate(either)
    database = connect(either)
    assert await ask(database, "SELECT 1") == 1
    assert await read(database, "SELECT 1") == 1
    await database.check()


async def test_reading_sees_what_a_transaction_has_committed(either: Settings, connect: Connect) -> None:
    database = connect(either)
    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        await connection.execute(text("INSERT INTO numbers VALUES (1)"))
        await connection.commit()
    async with database.transaction() as connection:
        await connection.execute(text("INSERT INTO numbers VALUES (2)"))  # and rolled back
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT number FROM numbers"))).scalars().all() == [1]
        await ask(database, "SELECT 1")
    async with database.transaction() as connection:
        await connection.execute(text("DROP TABLE numbers"))
        await connection.commit()


async def test_what_is_written_is_there(either: Settings, connect: Connect) -> None:
    database = connect(either)
    assert await database.write(text("CREATE TABLE numbers (number INTEGER)")) is None
    assert await database.write(text("UPDATE numbers SET number = 1 RETURNING number")) is None
    assert await database.write(text("INSERT INTO numbers VALUES (:number)"), {"number": 2}) is None
    assert await read(database, "SELECT number FROM numbers") == 2


async def test_one_statement_is_a_transaction_by_itself(postgresql_settings: Settings, connect: Connect) -> None:
    """So there are no ways to the server for BEGIN and COMMIT. VACUUM is what cannot be within another transaction."""
    database = connect(postgresql_settings)
    await database.write(text("VACUUM pg_class"))
    async with database.transaction() as connection:
        with pytest.raises(DBAPIError, match="cannot run inside a transaction block"):
            await connection.execute(text("VACUUM pg_class"))


async def test_a_mistake_stays_a_mistake(postgresql_settings: Settings, connect: Connect) -> None:
    database = connect(postgresql_settings)
    for question in (ask, read):
        with pytest.raises(ProgrammingError):
            await question(database, "SELECT no_such_function()")


async def test_a_database_that_was_not_migrated_says_what_to_run(
    either: Settings, connect: Connect, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    database = connect(either)
    for question in (ask, read):
        with pytest.raises(DatabaseUnavailableError, match="The database does not have the schema of this version"):
            await question(database, "SELECT * FROM nowhere")
    advice = {line["labels.advice"] for line in log_lines() if "labels.advice" in line}
    assert advice == {"run: python -m tests.probe migrate"}


async def test_a_former_primary_is_left(
    postgresql_settings: Settings, postgresql: PostgreSQL, connect: Connect
) -> None:
    """PostgreSQL ends no session when it becomes read-only: the pool would stay with it for as long as it lives."""
    await migrate.migrate(postgresql_settings)
    database = connect(postgresql_settings)
    name = postgresql_settings.database.database
    create = "CREATE TABLE numbers (number INTEGER)"
    before = await ask(database, "SELECT pg_backend_pid()")
    await database.check()
    postgresql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    # What a session has open already is changed by a failover; here by hand.
    async with database.transaction() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))
        await connection.commit()
    with pytest.raises(DatabaseUnavailableError, match="The database accepts no changes"):
        await ask(database, create)
    await database.check()  # its own connection is from before
    async with database._check_engine.connect() as connection:
        await connection.execute(text("SET default_transaction_read_only = on"))
        await connection.commit()
    with pytest.raises(NotFitError, match="it is read-only"):
        await database.check()
    postgresql.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    assert await ask(database, "SELECT pg_backend_pid()") != before
    await database.check()


async def test_a_database_that_is_not_there(settings: Settings, unused_port: int, connect: Connect) -> None:
    url = f"postgresql://things@127.0.0.1:{unused_port}/things"
    database = connect(Settings(**settings.model_dump() | {"database_url": url}))
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(database, "SELECT 1")
    assert (raised.value.status_code, raised.value.headers) == (503, {"Retry-After": "2"})
    with pytest.raises(OSError, match="Connect"):
        await database.check()


async def test_by_a_unix_socket(postgresql_settings: Settings, postgresql: PostgreSQL, connect: Connect) -> None:
    """As Cloud SQL's connector offers it."""
    await migrate.migrate(postgresql_settings)
    user, name = postgresql_settings.database.username, postgresql_settings.database.database
    url = f"postgresql://{user}:{postgresql.password}@:{postgresql.port}/{name}?host={postgresql.directory}"
    database = connect(Settings(**postgresql_settings.model_dump() | {"database_url": url}))
    assert await ask(database, "SELECT inet_client_addr()") is None
    await database.check()


@pytest.fixture
async def authority(postgresql: PostgreSQL, tmp_path: Path, until: Until) -> AsyncIterator[Path]:
    """The certificate of whoever vouches for the server, which meanwhile speaks TLS, and that it is localhost."""
    authority = certificates.ensure_authority(tmp_path)
    pair = certificates.ensure_server(postgresql.directory, "server", ["localhost"], authority)
    owner = postgresql.data.stat()
    for name, file in (("ssl_cert_file", pair.certificate), ("ssl_key_file", pair.key)):
        os.chown(file, owner.st_uid, owner.st_gid)
        postgresql.execute(f"ALTER SYSTEM SET {name} = '{file}'")
    postgresql.execute("ALTER SYSTEM SET ssl = on")
    postgresql.execute("SELECT pg_reload_conf()")
    await until(lambda: postgresql.execute("SHOW ssl") == "on\n")
    yield authority.certificate
    postgresql.execute("ALTER SYSTEM RESET ALL")
    postgresql.execute("SELECT pg_reload_conf()")
    await until(lambda: postgresql.execute("SHOW ssl") == "off\n")


def verifying(settings: Settings, host: str) -> Settings:
    url = settings.database.set(host=host, query={"sslmode": "verify-full"}, drivername="postgresql")
    return Settings(**settings.model_dump() | {"database_url": url.render_as_string(hide_password=False)})


async def test_tls_with_the_authority_s_certificate_only(
    postgresql_settings: Settings,
    connect: Connect,
    authority: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(authority))
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert await ask(connect(verifying(postgresql_settings, "localhost")), encrypted) is True
    other = certificates.ensure_authority(tmp_path / "other").certificate
    for host, trusted in (("localhost", other), ("127.0.0.1", authority)):
        monkeypatch.setenv("PGSSLROOTCERT", str(trusted))
        with pytest.raises(DatabaseUnavailableError) as raised:
            await ask(connect(verifying(postgresql_settings, host)), "SELECT 1")
        assert "certificate verify failed" in str(raised.value.__cause__)


async def test_who_asks_for_tls_gets_no_connection_without(
    postgresql_settings: Settings, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", str(certificates.ensure_authority(tmp_path).certificate))
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(connect(verifying(postgresql_settings, "localhost")), "SELECT 1")
    assert "SSL" in str(raised.value.__cause__)


async def test_a_slow_statement_is_ended(postgresql_settings: Settings, connect: Connect) -> None:
    quick = postgresql_settings.model_copy(update={"database_statement_timeout_seconds": 0.1})
    database = connect(quick)
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(database, "SELECT pg_sleep(30)")
    assert "statement timeout" in str(raised.value.__cause__)
    assert await ask(database, "SELECT 1") == 1


async def test_a_pool_in_use_is_waited_for_but_not_for_ever(postgresql_settings: Settings, connect: Connect) -> None:
    small = {"database_pool_size": 1, "database_pool_overflow": 0, "database_pool_timeout_seconds": 0.1}
    await migrate.migrate(postgresql_settings)
    database = connect(postgresql_settings.model_copy(update=small))
    async with database.transaction() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailableError):
            await ask(database, "SELECT 1")
        await database.check()  # the probe has a connection of its own


async def test_connections_cut_by_the_server_are_replaced(postgresql_settings: Settings, connect: Connect) -> None:
    database = connect(postgresql_settings)
    first = await ask(database, "SELECT pg_backend_pid()")
    other = connect(postgresql_settings)
    assert await ask(other, f"SELECT pg_terminate_backend({first}, 5000)")
    assert await ask(database, "SELECT pg_backend_pid()") != first


async def test_a_write_is_begun_again_where_the_server_has_just_closed_the_connection(
    postgresql: PostgreSQL, postgresql_settings: Settings, connect: Connect
) -> None:
    database = connect(postgresql_settings)
    close = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'probe'"
    await database.write(text("CREATE TABLE numbers (number INTEGER)"))
    # psql runs without the event loop, so the driver cannot know yet that its connection is gone.
    postgresql.execute(close)
    async with database.transaction() as connection:
        assert await connection.scalar(text("SELECT 2")) == 2
    postgresql.execute(close)
    row = await database.write(text("INSERT INTO numbers VALUES (:number) RETURNING number"), {"number": 3})
    assert row is not None
    assert row.number == 3
    assert await read(database, "SELECT number FROM numbers") == 3


async def test_a_write_that_finds_its_connection_closed_and_no_server(
    postgresql: PostgreSQL, postgresql_settings: Settings, connect: Connect
) -> None:
    async with proxy(postgresql.port) as between:
        url = postgresql_settings.database.set(port=between.port).update_query_dict({"ssl": "disable"})
        secret = SecretStr(url.render_as_string(hide_password=False))
        database = connect(postgresql_settings.model_copy(update={"database_url": secret}))
        await ask(database, "SELECT 1")
    with pytest.raises(DatabaseUnavailableError):
        await ask(database, "SELECT 1")


async def test_writers_leave_a_connection_to_the_readers(postgresql_settings: Settings, connect: Connect) -> None:
    few = {"database_pool_size": 2, "database_pool_overflow": 1, "database_pool_timeout_seconds": 0.1}
    database = connect(postgresql_settings.model_copy(update=few))
    async with database.transaction(), database.transaction():
        with pytest.raises(DatabaseUnavailableError):
            await ask(database, "SELECT 1")
        assert await read(database, "SELECT 1") == 1
    assert await ask(database, "SELECT 1") == 1


async def test_a_transaction_that_idles_is_ended(postgresql_settings: Settings, connect: Connect, until: Until) -> None:
    database = connect(postgresql_settings.model_copy(update={"database_statement_timeout_seconds": 0.1}))

    async def idle() -> None:
        async with database.transaction() as connection:
            raw = await connection.get_raw_connection()
            await connection.execute(text("SELECT 1"))
            await until(raw.driver_connection.is_closed)  # type: ignore[union-attr]
            await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailableError) as raised:
        await idle()
    assert "the underlying connection is closed" in str(raised.value.__cause__)
    assert await ask(database, "SELECT 1") == 1


async def test_a_read_with_a_plan_from_before_a_migration_is_tried_again(
    postgresql_settings: Settings,
    postgresql: PostgreSQL,
    connect: Connect,
    log_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    """It has done nothing. A write may be one of several, and its transaction is over: its client shall try again."""
    database = connect(postgresql_settings)
    url = postgresql.url(str(postgresql_settings.database.database))
    write = "UPDATE numbers SET number = number + 1 RETURNING number"

    def change(kind: str) -> None:
        postgresql.run("psql", "--quiet", url, f"--command=ALTER TABLE numbers ALTER number TYPE {kind}")

    async with database.transaction() as connection:
        await connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        await connection.execute(text("INSERT INTO numbers VALUES (1)"))
        await connection.commit()
    assert await read(database, "SELECT number FROM numbers") == 1
    change("bigint")
    assert await read(database, "SELECT number FROM numbers") == 1
    assert log_lines() == []
    assert await ask(database, write) == 2  # and rolled back
    change("smallint")
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(database, write)
    assert "cached statement plan is invalid" in str(raised.value.__cause__)
    assert (raised.value.status_code, raised.value.headers) == (503, {"Retry-After": "2"})
    assert await ask(database, write) == 2


async def test_what_a_statement_was_given_is_in_no_error(postgresql_settings: Settings, connect: Connect) -> None:
    database = connect(postgresql_settings)

    async def reveal() -> None:
        async with database.reading() as connection:
            await connection.execute(text("SELECT no_such_function(:secret)"), {"secret": "hunter2"})

    with pytest.raises(ProgrammingError) as raised:
        await reveal()
    assert "hunter2" not in str(raised.value)


async def test_sqlite_serves_readers_beside_a_writer(settings: Settings, connect: Connect) -> None:
    database = connect(settings)
    assert await ask(database, "PRAGMA journal_mode") == "wal"
    assert await ask(database, "PRAGMA foreign_keys") == 1
    await asyncio.gather(*(ask(database, "SELECT 1") for _ in range(5)))
