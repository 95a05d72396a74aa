"""What every dialect promises, tried on a real database of each kind."""

import ast
import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Column, Integer, String, Table, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from keel import dialects
from keel.data.database import METADATA, Database, DatabaseUnavailableError
from keel.data.database_engine import connecting, create_engine
from keel.dialects import DIALECTS, Dialect, Failure
from keel.settings import Settings
from tests.support.databases import FILES, KINDS, NAMES, SERVERS, settings_of

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]


@pytest.fixture
def table() -> Iterator[Table]:
    yield Table("numbers", METADATA, Column("name", String(64), primary_key=True), Column("number", Integer))
    METADATA.remove(METADATA.tables["numbers"])


@pytest.fixture(params=SERVERS)
def on_server(request: pytest.FixtureRequest) -> Settings:
    """On each kind that is a server, with a time-out that is over soon."""
    return settings_of(request.param, request).model_copy(update={"database_statement_timeout_seconds": 0.2})


async def opened(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Database]:
    database = Database(settings, registry)
    yield database
    await database.close()


@pytest.fixture
async def database(either: Settings, registry: CollectorRegistry, table: Table) -> AsyncIterator[Database]:
    async for database in opened(either, registry):
        async with database.engine.begin() as connection:
            await connection.run_sync(lambda sync: METADATA.create_all(sync, [table]))
        yield database


@pytest.fixture
async def server(on_server: Settings, registry: CollectorRegistry) -> AsyncIterator[Database]:
    async for database in opened(on_server, registry):
        yield database


async def failing(settings: Settings, *statements: str) -> DBAPIError:
    """The error of the last statement, on a connection of its own."""
    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            for statement in statements[:-1]:
                await connection.execute(text(statement))
            with pytest.raises(DBAPIError) as raised:
                await connection.execute(text(statements[-1]))
        return raised.value
    finally:
        await engine.dispose()


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_what_a_dialect_says_of_itself(dialect: Dialect) -> None:
    assert type(dialect).__module__ == f"keel.dialects.{dialect.name}"  # by which the image keeps SQLAlchemy's own
    assert (ROOT / "kit/keel/dialects" / f"{dialect.name}.py").is_file()
    url = dialects.parse(make_url(dialect.example))
    assert url.drivername == dialect.driver
    assert dialects.of(url) is dialect
    assert url.get_dialect().name == dialect.name
    assert dialect.driver in dialect.schemes
    import_module(dialect.driver.partition("+")[2])
    for scheme in dialect.schemes:
        assert dialects.of(dialects.parse(make_url(dialect.example).set(drivername=scheme))) is dialect
    assert dialect.is_file or dialect.tls_advice
    assert dialect.is_file or not dialect.demands_tls(url)
    assert set(dialect.failures) <= {code for code in dialect.failures if code.startswith(dialect.passing)}


def test_each_scheme_is_of_one_dialect() -> None:
    schemes = [scheme for dialect in DIALECTS for scheme in dialect.schemes]
    assert len(schemes) == len(set(schemes))


def test_nothing_else_asks_which_one_it_is() -> None:
    """Not by name, that is: a migration may, whose text is never changed again."""
    asking = []
    for folder in ("kit/keel", "app"):
        for file in (ROOT / folder).rglob("*.py"):
            where = file.relative_to(ROOT).as_posix()
            if where.startswith(("kit/keel/dialects/", "app/migrations/")):
                continue
            texts = [node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)]
            asking += [where for each in texts if each in NAMES]
    assert asking == []


async def test_a_row_that_is_there_is_left_or_changed(database: Database, table: Table) -> None:
    insert = database.dialect.insert(table)
    add = insert.on_conflict_do_nothing().returning(table.c.number)
    assert await database.write(add, {"name": "one", "number": 1}) == (1,)
    assert await database.write(add, {"name": "one", "number": 2}) is None
    more = {"number": table.c.number + insert.excluded.number}
    put = insert.on_conflict_do_update(index_elements=["name"], set_=more).returning(table.c.number)
    assert await database.write(put, {"name": "one", "number": 41}) == (42,)
    assert await database.write(put, {"name": "two", "number": 2}) == (2,)


async def test_the_database_tells_the_time(database: Database) -> None:
    async with database.reading() as connection:
        assert abs(float(await connection.scalar(select(database.dialect.unix_time()))) - time.time()) < 10


async def test_a_json_object_is_a_table(database: Database) -> None:
    pairs = database.dialect.json_pairs("given")
    async with database.reading() as connection:
        found = await connection.execute(select(pairs.c.key, pairs.c.value), {"given": '{"a": 1, "b\\"": 22}'})
        assert sorted((row.key, int(row.value)) for row in found) == [("a", 1), ('b"', 22)]
        assert (await connection.execute(select(pairs.c.key), {"given": "{}"})).all() == []


@pytest.mark.parametrize(
    ("statement", "failure", "lacks_table"),
    [
        ("SELECT 1 FROM missing", Failure.SCHEMA, True),
        ("SELECT missing FROM numbers", Failure.SCHEMA, False),
        ("INSERT INTO numbers SELECT name, number FROM numbers UNION ALL VALUES ('one', 1), ('one', 2)", None, False),
    ],
    ids=["table", "column", "mistake"],
)
async def test_what_passes_is_told_from_mistakes(
    database: Database, either: Settings, statement: str, failure: Failure | None, lacks_table: bool
) -> None:
    error = await failing(either, statement)
    assert database.dialect.failure(error) is failure
    assert database.dialect.lacks_table(error) is lacks_table
    assert database.dialect.code(error) not in {database.dialect.stale_plan, database.dialect.no_right} - {None}


async def test_a_database_that_takes_no_writes(database: Database, either: Settings) -> None:
    read_only = KINDS[database.dialect.name].be_read_only
    error = await failing(either, read_only, "INSERT INTO numbers VALUES ('one', 1)")
    assert database.dialect.failure(error) is Failure.READ_ONLY
    if query := database.dialect.read_only_query:
        async with database.transaction() as connection:
            assert not await connection.scalar(text(query))
            await connection.rollback()
            await connection.execute(text(read_only))
            assert await connection.scalar(text(query))


async def test_statements_have_a_time_out(server: Database, registry: CollectorRegistry) -> None:
    with pytest.raises(DatabaseUnavailableError):
        async with server.reading() as connection:
            await connection.execute(text(KINDS[server.dialect.name].sleep))
    reason = {"reason": Failure.STATEMENT_TIMEOUT.value}
    assert registry.get_sample_value("database_unavailable_total", reason) == 1


async def test_a_transaction_has_it_from_a_statement(server: Database, on_server: Settings) -> None:
    engine = create_engine(on_server, migrates=True)  # connections without one
    wanted = connecting(on_server)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(server.dialect.set_time_outs(wanted)))
            with pytest.raises(DBAPIError) as raised:
                await connection.execute(text(KINDS[server.dialect.name].sleep))
        assert server.dialect.failure(raised.value) is Failure.STATEMENT_TIMEOUT
    finally:
        await engine.dispose()


async def test_a_connection_is_kept_alive_and_known_to_be_gone(server: Database) -> None:
    async with server.engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        connected = server.dialect.socket_of(driver)
        assert connected
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not server.dialect.is_closed(driver)
        server.dialect.drop(driver)
        assert server.dialect.is_closed(driver)
    async with server.reading() as reading:
        assert await reading.scalar(text("SELECT 1")) == 1


async def test_one_lock_is_had_by_one_transaction(server: Database, on_server: Settings) -> None:
    engine = create_engine(on_server)
    lock = server.dialect.try_lock
    try:
        async with engine.connect() as first, engine.connect() as second, server.engine.connect() as idle:
            assert await lock(first, 1)
            await server.dialect.hold_lock(first)
            assert await lock(idle, 2)
            while not await lock(second, 2):  # until the server has ended it, as it ends what is idle for too long
                await second.rollback()
                await asyncio.sleep(0.01)
            await idle.invalidate()
            assert not await lock(second, 1)
            await first.rollback()
            assert await lock(second, 1)
    finally:
        await engine.dispose()


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_made_or_refused_with_a_sentence(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = settings_of(name, request)
    url = settings.database.set(database=str(tmp_path / "new"))
    settings.dialect.open_file(url)
    with pytest.raises(ValueError, match=r"cannot open .*/nothing/new: .*\. Name a file"):
        settings.dialect.open_file(url.set(database=str(tmp_path / "nothing" / "new")))
    (tmp_path / "text").write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(ValueError, match=r"/text is not a .* database: .*\. Name another file"):
        settings.dialect.open_file(url.set(database=str(tmp_path / "text")))
