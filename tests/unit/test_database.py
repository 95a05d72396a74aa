import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.database import Database, DatabaseUnavailableError, is_unavailable
from app.settings import Settings

pytestmark = pytest.mark.anyio

Connect = Callable[[Settings], Database]


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
        (InterfaceError("", {}, Failure()), True),
        (OperationalError("", {}, Failure()), True),
        (DBAPIError("", {}, Failure(), connection_invalidated=True), True),
        (DBAPIError("", {}, Failure("25001")), False),
        (ProgrammingError("", {}, Failure("42P01")), False),  # undefined_table
        (IntegrityError("", {}, Failure("23505")), False),
        (IntegrityError("", {}, Failure()), False),
        (ValueError(), False),
    ],
)
def test_absence_is_told_from_mistakes(error: Exception, passes: bool) -> None:
    assert is_unavailable(error) is passes


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
    async with database.session() as session:
        return await session.scalar(text(statement))


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Settings:
    name = "settings" if request.param == "sqlite" else "postgresql_settings"
    settings: Settings = request.getfixturevalue(name)
    return settings


async def test_answers(either: Settings, connect: Connect) -> None:
    database = connect(either)
    assert await ask(database, "SELECT 1") == 1
    await database.check()


async def test_a_mistake_stays_a_mistake(postgresql_settings: Settings, connect: Connect) -> None:
    database = connect(postgresql_settings)
    with pytest.raises(ProgrammingError):
        await ask(database, "SELECT * FROM nowhere")


async def test_a_database_that_is_not_there(settings: Settings, unused_port: int, connect: Connect) -> None:
    url = f"postgresql://links@127.0.0.1:{unused_port}/links"
    database = connect(Settings(**settings.model_dump() | {"database_url": url}))
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(database, "SELECT 1")
    assert (raised.value.status_code, raised.value.headers) == (503, {"Retry-After": "2"})
    with pytest.raises(OSError, match="Connect"):
        await database.check()


async def test_a_slow_statement_is_ended(postgresql_settings: Settings, connect: Connect) -> None:
    quick = postgresql_settings.model_copy(update={"database_statement_timeout_seconds": 0.1})
    database = connect(quick)
    with pytest.raises(DatabaseUnavailableError) as raised:
        await ask(database, "SELECT pg_sleep(30)")
    assert "statement timeout" in str(raised.value.__cause__)
    assert await ask(database, "SELECT 1") == 1


async def test_a_pool_in_use_is_waited_for_but_not_for_ever(postgresql_settings: Settings, connect: Connect) -> None:
    small = {"database_pool_size": 1, "database_pool_overflow": 0, "database_pool_timeout_seconds": 0.1}
    database = connect(postgresql_settings.model_copy(update=small))
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailableError):
            await ask(database, "SELECT 1")
        await database.check()  # the probe has a connection of its own


async def test_connections_cut_by_the_server_are_replaced(postgresql_settings: Settings, connect: Connect) -> None:
    database = connect(postgresql_settings)
    first = await ask(database, "SELECT pg_backend_pid()")
    other = connect(postgresql_settings)
    assert await ask(other, f"SELECT pg_terminate_backend({first}, 5000)")
    assert await ask(database, "SELECT pg_backend_pid()") != first


async def test_sqlite_serves_readers_beside_a_writer(settings: Settings, connect: Connect) -> None:
    database = connect(settings)
    assert await ask(database, "PRAGMA journal_mode") == "wal"
    assert await ask(database, "PRAGMA foreign_keys") == 1
    await asyncio.gather(*(ask(database, "SELECT 1") for _ in range(5)))
