"""A server that has no connection left, as it is shared with too many others."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from time import monotonic

import asyncpg  # type: ignore[import-untyped]
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event, text

from keel.data import database_pool
from keel.data.database import Database, DatabaseUnavailableError
from tests.kit.subject import Settings
from tests.support.servers import PostgreSQL

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
Question = Callable[[Database], Coroutine[None, None, object]]
CONNECTIONS = 5


@pytest.fixture(scope="module")
def small() -> Iterator[PostgreSQL]:
    with tempfile.TemporaryDirectory(prefix="postgresql-") as directory:
        server = PostgreSQL(Path(directory))
        limits = {"max_connections": CONNECTIONS, "superuser_reserved_connections": 0, "max_wal_senders": 0}
        server.options = {**server.options, **limits}
        server.create()
        server.start()
        yield server
        server.stop()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def database(settings: Settings, small: PostgreSQL, registry: CollectorRegistry) -> AsyncIterator[Database]:
    given = {
        "database_url": small.url("postgres"),
        "database_pool_timeout_seconds": 20,
        "database_connect_timeout_seconds": 20,
    }
    database = Database(Settings(**settings.model_dump() | given), registry)
    yield database
    await database.close()


class Others:
    """Take the server's connections."""

    def __init__(self, server: PostgreSQL) -> None:
        self._url = server.url("postgres")
        self.held: list[asyncpg.Connection] = []

    async def take(self, leave: int) -> None:
        """All that the server has, but for so many. One that has just been closed may still count for a moment."""
        async with asyncio.timeout(20):
            while len(self.held) < CONNECTIONS - leave:
                try:
                    self.held.append(await asyncpg.connect(self._url, ssl="disable"))
                except asyncpg.TooManyConnectionsError:
                    await asyncio.sleep(0.01)

    async def give_back(self) -> None:
        """All but one, and wait until the server counts them no more."""
        while len(self.held) > 1:
            await self.held.pop().close()
        async with asyncio.timeout(20):
            while await self.held[0].fetchval("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL") > 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def go(self) -> None:
        while self.held:
            await self.held.pop().close()


@pytest.fixture
async def others(small: PostgreSQL) -> AsyncIterator[Others]:
    others = Others(small)
    yield others
    await others.go()


async def read(database: Database) -> object:
    async with database.reading() as connection:
        return await connection.scalar(text("SELECT 1"))


async def write(database: Database) -> object:
    async with database.transaction() as connection:
        return await connection.scalar(text("SELECT 1"))


def pool(database: Database) -> database_pool.PatientPool:
    found = database.engine.pool
    assert isinstance(found, database_pool.PatientPool)
    return found


def count(registry: CollectorRegistry) -> dict[str, float | None]:
    reasons = ("exhausted", "pool_timeout", "unreachable")
    return {name: registry.get_sample_value("database_unavailable_total", {"reason": name}) for name in reasons}


@pytest.mark.parametrize("question", [read, write])
async def test_one_of_our_own_is_waited_for(
    database: Database, others: Others, registry: CollectorRegistry, until: Until, question: Question
) -> None:
    await others.take(leave=1)
    attempts: list[object] = []
    event.listen(database.engine.sync_engine, "do_connect", lambda *given: attempts.append(given))
    async with database.reading():
        waiting = [asyncio.create_task(question(database)) for _ in range(20)]
        await until(lambda: pool(database).refused_at > 0)
    assert await asyncio.gather(*waiting) == [1] * 20
    assert count(registry) == {"exhausted": 0, "pool_timeout": 0, "unreachable": 0}
    assert len(attempts) <= 10  # as many as the pool may have, and not one for each request


async def test_but_not_for_ever(
    settings: Settings, small: PostgreSQL, others: Others, registry: CollectorRegistry
) -> None:
    given = {
        "database_url": small.url("postgres"),
        "database_pool_timeout_seconds": 0.1,
        "database_connect_timeout_seconds": 20,
    }
    database = Database(Settings(**settings.model_dump() | given), registry)
    await others.take(leave=1)
    async with database.reading():
        for _ in range(2):  # refused, and not even tried
            with pytest.raises(DatabaseUnavailableError, match="The database has no free connection") as raised:
                await read(database)
    assert raised.value.headers == {"Retry-After": "2"}
    assert count(registry) == {"exhausted": 2, "pool_timeout": 0, "unreachable": 0}
    await database.close()


async def test_without_one_of_our_own_it_is_said_at_once(
    database: Database, others: Others, registry: CollectorRegistry
) -> None:
    await others.take(leave=0)
    started = monotonic()
    with pytest.raises(DatabaseUnavailableError, match="The database has no free connection"):
        await read(database)
    assert monotonic() - started < 10  # and not after the 20 s for which one would be waited for
    assert count(registry) == {"exhausted": 1, "pool_timeout": 0, "unreachable": 0}


async def test_the_pool_grows_again_when_the_server_has_room(
    database: Database, others: Others, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_pool, "RETRY_SECONDS", 0)
    await others.take(leave=1)
    async with database.reading():
        waiting = asyncio.create_task(read(database))
        await until(lambda: pool(database).refused_at > 0)
        await others.give_back()
        assert await read(database) == 1
    assert await waiting == 1
