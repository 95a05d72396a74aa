"""What the engine makes of networks, restarts and passwords."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from keel.data import migrate
from keel.data.database import Database, DatabaseUnavailableError
from tests.kit.subject import Settings
from tests.support.proxy import Proxy, proxy
from tests.support.servers import PostgreSQL

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
Question = Callable[[Database], Awaitable[object]]

STATEMENT_SECONDS = 0.2
BUSY_SECONDS = 0.5


async def write(database: Database) -> object:
    async with database.transaction() as connection:
        answer = await connection.scalar(text("SELECT 1"))
        await connection.commit()
        return answer


async def read(database: Database) -> object:
    async with database.reading() as connection:
        return await connection.scalar(text("SELECT 1"))


@pytest.fixture
async def between(postgresql: PostgreSQL) -> AsyncIterator[Proxy]:
    async with proxy(postgresql.port) as between:
        yield between


@pytest.fixture
async def database(postgresql_settings: Settings, between: Proxy) -> AsyncIterator[Database]:
    url = postgresql_settings.database.set(port=between.port).render_as_string(hide_password=False)
    quick = {"database_statement_timeout_seconds": STATEMENT_SECONDS, "database_connect_timeout_seconds": 0.5}
    database = Database(Settings(**postgresql_settings.model_dump() | {"database_url": url} | quick))
    yield database
    await database.close()


@pytest.mark.parametrize(("question", "round_trips"), [(read, 1), (write, 4)])
async def test_round_trips(database: Database, between: Proxy, question: Question, round_trips: int) -> None:
    await question(database)  # connects and prepares the statement
    before = between.round_trips
    for _ in range(10):
        await question(database)
    assert between.round_trips - before == 10 * round_trips


async def test_a_server_that_falls_silent_is_not_waited_for(database: Database, between: Proxy, until: Until) -> None:
    async def commit_into_silence() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            between.stall()
            await connection.commit()

    questions = (read, write, read)
    await asyncio.gather(*(question(database) for question in questions))
    committing = asyncio.create_task(commit_into_silence())
    await until(lambda: between.stalled)
    started = time.perf_counter()
    results = await asyncio.gather(committing, *(q(database) for q in questions), return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseUnavailableError}
    assert time.perf_counter() - started < STATEMENT_SECONDS + 1.5
    between.serve_new_ones()
    assert await asyncio.gather(*(question(database) for question in questions)) == [1, 1, 1]


async def test_a_connection_is_not_given_up_while_this_process_is_busy(postgresql_settings: Settings) -> None:
    """Pods beside which many others started refused writes: the server had answered, and nobody had read it."""
    database = Database(postgresql_settings.model_copy(update={"database_connect_timeout_seconds": BUSY_SECONDS / 2}))
    try:
        asking = asyncio.create_task(read(database))
        await asyncio.sleep(0)  # it connects
        time.sleep(BUSY_SECONDS)  # noqa: ASYNC251
        assert await asking == 1
    finally:
        await database.close()


@pytest.mark.parametrize("question", [read, write])
async def test_a_restart_between_two_questions_is_not_noticed(
    database: Database, postgresql: PostgreSQL, question: Question
) -> None:
    await asyncio.gather(*(question(database) for _ in range(5)))
    await asyncio.to_thread(postgresql.stop)
    await asyncio.to_thread(postgresql.start)
    assert await asyncio.gather(*(question(database) for _ in range(5))) == [1] * 5


class Role:
    """A role with a password, and the secret file that names both."""

    def __init__(self, server: PostgreSQL, settings: Settings, directory: Path) -> None:
        self.server = server
        self.directory = directory
        self.url = settings.database.set(username="app")
        self.server.execute("CREATE ROLE app LOGIN")

    def change_password(self, password: str) -> None:
        """On the server, which also ends the connections made with another one."""
        self.server.execute(f"ALTER ROLE app PASSWORD '{password}'")
        self.server.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'app'")

    def change_file(self, password: str) -> str:
        url = self.url.set(password=password).render_as_string(hide_password=False)
        return self.write_file(url)

    def write_file(self, text: str) -> str:
        (self.directory / "app_database_url").write_text(text + "\n")
        return text


@pytest.fixture
def role(postgresql: PostgreSQL, postgresql_settings: Settings, tmp_path: Path) -> Iterator[Role]:
    yield Role(postgresql, postgresql_settings, tmp_path)
    postgresql.execute("DROP ROLE app")


async def test_a_new_password_is_read_from_the_file(postgresql_settings: Settings, role: Role) -> None:
    await migrate.migrate(postgresql_settings)  # by another user, whose tables this one may not read
    await asyncio.to_thread(role.change_password, "first")
    given = {"secrets_dir": role.directory, "database_url": role.change_file("first")}
    database = Database(Settings(**postgresql_settings.model_dump() | given))
    try:
        assert await read(database) == 1
        await asyncio.to_thread(role.change_password, "second")
        with pytest.raises(DatabaseUnavailableError) as raised:
            await write(database)
        assert "password authentication failed" in str(raised.value.__cause__)
        role.change_file("second")
        assert await write(database) == 1
        await database.check()
        role.write_file("sqlite:///elsewhere.db")  # of no use: what the file held before goes on
        await asyncio.to_thread(role.change_password, "second")
        assert await read(database) == 1
    finally:
        await database.close()


async def test_connections_of_a_former_user_are_replaced_once_the_new_one_gets_in(
    postgresql: PostgreSQL, postgresql_settings: Settings, role: Role
) -> None:
    """While the server does not know what the file says, those that there are go on."""
    await migrate.migrate(postgresql_settings)
    await asyncio.to_thread(role.change_password, "first")
    given = {"secrets_dir": role.directory, "database_url": role.change_file("first")}
    database = Database(Settings(**postgresql_settings.model_dump() | given))

    async def user() -> str:
        row = await database.write(text("SELECT CURRENT_USER"))
        assert row
        return str(row[0])

    try:
        assert [await user() for _ in range(5)] == ["app"] * 5
        early = role.url.set(username="later", password="secret")
        role.write_file(early.render_as_string(hide_password=False))
        with pytest.raises(Exception, match='password authentication failed for user "later"'):
            await database.check()
        assert [await user() for _ in range(5)] == ["app"] * 5
        postgresql.execute("CREATE ROLE later LOGIN PASSWORD 'secret' IN ROLE app")
        assert [await user() for _ in range(5)] == ["app"] * 5
        await database.check()
        assert [await user() for _ in range(5)] == ["later"] * 5
    finally:
        await database.close()
        postgresql.execute("DROP ROLE IF EXISTS later")


async def test_the_environment_wins_over_the_file(
    postgresql_settings: Settings, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    role.write_file("postgresql://nobody@nowhere.invalid/nothing")
    monkeypatch.setenv("APP_DATABASE_URL", postgresql_settings.database_url.get_secret_value())
    database = Database(postgresql_settings.model_copy(update={"secrets_dir": role.directory}))
    try:
        assert await read(database) == 1
    finally:
        await database.close()


async def test_connections_are_kept_alive(database: Database) -> None:
    async with database.engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver
        assert driver._transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
