"""The whole application under load while its servers are stopped, restarted, slow or silent."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from keel.data import migrate
from tests.unit.conftest import Logs
from tests.unit.product import SERVICE, Settings
from tests.unit.proxy import Proxy, proxy
from tests.unit.servers import PostgreSQL, Valkey

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]

QUICK = {
    "cache_seconds": 0.02,  # so that memory does not hide what is behind it
    "check_interval_seconds": 0.05,
    "rate_limit_address_per_minute": 0,
    "rate_limit_token_per_minute": 0,
    "valkey_timeout_seconds": 0.25,
}
IMPATIENT = {  # for a database at fault; a sound one on a busy machine may take longer
    "database_connect_timeout_seconds": 0.5,
    "database_pool_timeout_seconds": 0.3,
    "database_statement_timeout_seconds": 0.3,
}
READ = 20  # links that are read again and again, however many are written
FOLLOWED_STALE = "links_followed_stale_total"
SHARED_HITS = 'cache_requests_total{cache="targets",layer="shared",result="hit"}'


class Load:
    """Readers and writers that go on until they are stopped, and what they were answered."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}
        self.slugs: list[str] = []
        self.written: Counter[int] = Counter()
        self.read: Counter[int] = Counter()
        self.without_retry_after = 0
        self.slowest = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, readers: int, writers: int) -> None:
        self._tasks += [asyncio.create_task(self._again(self._read)) for _ in range(readers)]
        self._tasks += [asyncio.create_task(self._again(self._write)) for _ in range(writers)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def _again(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            started = time.perf_counter()
            await once()
            self.slowest = max(self.slowest, time.perf_counter() - started)
            await asyncio.sleep(0.002)

    async def _write(self) -> None:
        answer = await self.client.post("/api/v1/links", json={"url": "https://example.com/"}, headers=self.headers)
        self._note(self.written, answer)
        if answer.status_code == 201:
            self.slugs.append(answer.json()["slug"])

    async def _read(self) -> None:
        if self.slugs:
            first = self.slugs[:READ]
            self._note(self.read, await self.client.get(f"/{first[self.read.total() % len(first)]}"))

    def _note(self, counts: Counter[int], answer: httpx.Response) -> None:
        counts[answer.status_code] += 1
        if answer.status_code == 503:
            is_problem = answer.headers["content-type"] == "application/problem+json"
            self.without_retry_after += not (is_problem and "retry-after" in answer.headers)


class World:
    """The application, what it stands on, and a way to look at it."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
        self.settings = settings
        self.client = client
        self.management = management

    async def metric(self, line: str) -> float:
        text = (await self.management.get("/metrics")).text
        return next(float(each.rpartition(" ")[2]) for each in text.splitlines() if each.startswith(line + " "))

    async def ready(self) -> str:
        return str((await self.management.get("/readyz")).json()["status"])

    async def until_ready(self, status: str = "ok") -> None:
        async with asyncio.timeout(20):
            while await self.ready() != status:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def until_no_connection_is_in_use(self) -> None:
        """Clicks may be on their way into the database."""
        async with asyncio.timeout(20):
            while await self.metric('database_pool_connections{state="in_use"}'):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """To the database, past the application and the proxy."""
        async with create_async_engine(self.settings.database, poolclass=NullPool).connect() as connection:
            yield connection


@pytest.fixture
async def between(postgresql: PostgreSQL) -> AsyncIterator[Proxy]:
    async with proxy(postgresql.port) as between:
        yield between


@pytest.fixture
def own_settings() -> dict[str, float]:
    """What a test sets besides QUICK."""
    return IMPATIENT


@pytest.fixture
async def world(
    postgresql_settings: Settings, valkey: Valkey, between: Proxy, own_settings: dict[str, float]
) -> AsyncIterator[World]:
    # A connect that asks for TLS, when a time-out cancels it, can leave an exception behind, which fails the test:
    # findings/asyncpg-cancelled-connect-leaves-an-exception.sh
    database = postgresql_settings.database.set(port=between.port).update_query_dict({"ssl": "disable"})
    url = database.render_as_string(hide_password=False)
    chosen = QUICK | own_settings | {"database_url": url, "valkey_url": valkey.url}
    settings = Settings(**postgresql_settings.model_dump() | chosen)
    await migrate.migrate(postgresql_settings)
    service = SERVICE.build(settings)
    service.health.started = True
    public = httpx.ASGITransport(service.public, raise_app_exceptions=False)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=public, base_url="https://links.example.com") as client,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(service.management), base_url="http://management"
        ) as management,
    ):
        world = World(postgresql_settings, client, management)
        await world.until_ready()
        yield world


@pytest.fixture
async def load(world: World, mint: Callable[..., str]) -> AsyncIterator[Load]:
    load = Load(world.client, mint())
    yield load
    await load.stop()


@pytest.mark.parametrize("fault", ["restart", "silence"])
async def test_the_database_is_gone_and_comes_back_under_load(
    world: World, load: Load, postgresql: PostgreSQL, between: Proxy, until: Until, fault: str
) -> None:
    load.start(readers=8, writers=4)
    await until(lambda: load.written[201] >= 20 and load.read[307] >= 20)
    if fault == "restart":
        await asyncio.to_thread(postgresql.stop)
    else:
        between.stall()
    await until(lambda: load.written[503] >= 8)
    await world.until_ready("degraded")
    if fault == "restart":
        await asyncio.to_thread(postgresql.start)
    else:
        between.resume()
    acknowledged = load.written[201]
    await until(lambda: load.written[201] >= acknowledged + 20)
    await world.until_ready()
    await load.stop()

    assert set(load.written) == {201, 503}
    assert set(load.read) <= {307, 503}
    assert load.without_retry_after == 0
    assert load.slowest < 4
    async with world.connection() as connection:
        stored = set((await connection.scalars(text("SELECT slug FROM links"))).all())
    assert stored >= set(load.slugs)
    await world.until_no_connection_is_in_use()


@pytest.mark.parametrize("fault", ["stop", "silence", "stop with Valkey"])
@pytest.mark.parametrize("own_settings", [IMPATIENT | {"cache_shared_seconds": 0.05}], ids=["short caches"])
async def test_links_are_followed_while_the_database_is_away_for_longer_than_the_caches_keep_them(
    world: World,
    load: Load,
    log_lines: Logs,
    postgresql: PostgreSQL,
    valkey: Valkey,
    between: Proxy,
    until: Until,
    fault: str,
) -> None:
    load.start(readers=0, writers=2)
    await until(lambda: len(load.slugs) >= READ)
    await load.stop()
    gone = load.slugs.pop()
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    soon = {"url": "https://example.com/", "slug": "soon", "expires_at": expires_at.isoformat()}
    assert (await world.client.post("/api/v1/links", json=soon, headers=load.headers)).status_code == 201
    valkey.execute("FLUSHALL")  # as when the marks of their creation are over
    for slug in (*load.slugs, gone, "soon"):
        assert (await world.client.get(f"/{slug}")).status_code == 307
    assert (await world.client.delete(f"/api/v1/links/{gone}", headers=load.headers)).status_code == 204
    assert await world.metric(FOLLOWED_STALE) == 0

    if fault == "silence":
        between.stall()
    else:
        await asyncio.to_thread(postgresql.stop)
    if fault == "stop with Valkey":
        await asyncio.to_thread(valkey.stop)
    load.start(readers=8, writers=0)
    read = load.read.total()
    await until(lambda: load.read.total() >= read + 500)
    await load.stop()
    assert set(load.read) == {307}
    assert load.slowest < 3
    assert await world.metric(FOLLOWED_STALE) > 400  # the rest was fresh at first
    assert {"stale"} == {line["labels.cache"] for line in log_lines() if "labels.cache" in line}
    while (answer := await world.client.get("/soon")).status_code == 307:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert answer.status_code == 410
    for path in (f"/{gone}", "/unknown"):
        refused = await world.client.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

    if fault == "silence":
        between.resume()
    else:
        await asyncio.to_thread(postgresql.start)
    async with asyncio.timeout(20):
        fresh = False
        while not fresh:
            stale = await world.metric(FOLLOWED_STALE)
            assert (await world.client.get(f"/{load.slugs[0]}")).status_code == 307
            fresh = await world.metric(FOLLOWED_STALE) == stale
            await asyncio.sleep(0.01)  # an answer from memory never gives the loop away
    assert (await world.client.get(f"/{gone}")).status_code == 404


async def test_a_locked_table_is_not_waited_for_and_takes_no_connection_away(
    world: World, load: Load, until: Until
) -> None:
    async with world.connection() as connection:
        await connection.execute(text("LOCK TABLE links IN ACCESS EXCLUSIVE MODE"))
        started = time.perf_counter()
        answers = await asyncio.gather(*(world.client.get(f"/unknown{number}") for number in range(30)))
        assert time.perf_counter() - started < 2
        assert {answer.status_code for answer in answers} == {503}
        assert (await world.client.get("/")).status_code == 200
        assert await world.ready() == "ok"  # other pods would wait for the same lock
    assert (await world.client.get("/unknown")).status_code == 404
    assert await world.metric('database_unavailable_total{reason="statement_timeout"}') > 0
    await world.until_no_connection_is_in_use()
    load.start(readers=0, writers=1)
    await until(lambda: load.written[201])


async def test_writers_that_wait_for_a_lock_do_not_hold_up_the_readers(world: World, load: Load, until: Until) -> None:
    load.start(readers=0, writers=1)
    await until(lambda: load.written[201])
    await load.stop()
    async with world.connection() as connection:
        await connection.execute(text("LOCK TABLE links IN SHARE MODE"))  # reads go on, writes wait
        load.start(readers=4, writers=30)
        await until(lambda: load.written[503] >= 30)
        await load.stop()
    assert set(load.read) == {307}


@pytest.mark.parametrize("fault", ["stop", "pause"])
@pytest.mark.parametrize("own_settings", [{}], ids=["patient"])
async def test_valkey_is_gone_and_comes_back_under_load(
    world: World, load: Load, valkey: Valkey, until: Until, fault: str
) -> None:
    load.start(readers=8, writers=2)
    await until(lambda: load.written[201] >= 20 and load.read[307] >= 50)
    if fault == "stop":
        await asyncio.to_thread(valkey.stop)
    else:
        valkey.pause()
    await world.until_ready("degraded")
    reads, writes = load.read[307], load.written[201]
    await until(lambda: load.read[307] > reads + 50 and load.written[201] > writes + 4)
    assert await world.metric('cache_requests_total{cache="targets",layer="shared",result="unavailable"}') > 0
    assert await world.metric("valkey_breaker_open") == 1
    if fault == "stop":
        await asyncio.to_thread(valkey.start)
    else:
        valkey.resume()
    await world.until_ready()
    hits = await world.metric(SHARED_HITS)
    async with asyncio.timeout(20):
        while await world.metric(SHARED_HITS) <= hits:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await load.stop()
    assert (set(load.read), set(load.written)) == ({307}, {201})
    assert load.slowest < 2
