"""A whole application under load, whose servers are stopped, restarted, slow or silent.

The fixtures are for the tests of a service, which say in a fixture `traffic` what is made and read.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from keel.data import migrate
from keel.settings import Settings
from tests.support.fixtures import Subject
from tests.support.proxy import Proxy, proxy
from tests.support.servers import PostgreSQL, Valkey

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
READ = 20  # of what was made, what is read again and again, however many are written


@dataclass(frozen=True)
class Traffic:
    """How something is made, and read again."""

    write: str
    """Where it is made."""
    body: Callable[[], dict[str, str]]
    name: str
    """Of the answer, what it is called."""
    path: Callable[[str], str]
    """Where it is read, by that name."""


class Load:
    """Readers and writers that go on until they are stopped, and what they were answered."""

    def __init__(self, client: httpx.AsyncClient, token: str, traffic: Traffic) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"}
        self.traffic = traffic
        self.made: list[str] = []
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
        answer = await self.client.post(self.traffic.write, json=self.traffic.body(), headers=self.headers)
        self._note(self.written, answer)
        if answer.status_code == 201:
            self.made.append(answer.json()[self.traffic.name])

    async def _read(self) -> None:
        if self.made:
            first = self.made[:READ]
            path = self.traffic.path(first[self.read.total() % len(first)])
            self._note(self.read, await self.client.get(path))

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
        """Background work may be at the database."""
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
    """A proxy before the database."""
    async with proxy(postgresql.port) as between:
        yield between


@pytest.fixture
def own_settings() -> dict[str, float]:
    """What a test sets besides QUICK."""
    return IMPATIENT


@pytest.fixture
async def load(world: World, mint: Callable[..., str], traffic: Traffic) -> AsyncIterator[Load]:
    load = Load(world.client, mint(), traffic)
    yield load
    await load.stop()


@pytest.fixture
async def world(
    subject: Subject, postgresql_settings: Settings, valkey: Valkey, between: Proxy, own_settings: dict[str, float]
) -> AsyncIterator[World]:
    """The application, ready, with a proxy before its database."""
    # A connect that asks for TLS, when a time-out cancels it, can leave an exception behind, which fails the test:
    # findings/asyncpg-cancelled-connect-leaves-an-exception.sh
    database = postgresql_settings.database.set(port=between.port).update_query_dict({"ssl": "disable"})
    url = database.render_as_string(hide_password=False)
    chosen = QUICK | own_settings | {"database_url": url, "valkey_url": valkey.url}
    settings = type(postgresql_settings)(**postgresql_settings.model_dump() | chosen)
    await migrate.migrate(postgresql_settings)
    service = subject.service.build(settings)
    service.health.started = True
    public = httpx.ASGITransport(service.public, raise_app_exceptions=False)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=public, base_url=subject.public_url) as client,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(service.management), base_url="http://management"
        ) as management,
    ):
        world = World(postgresql_settings, client, management)
        await world.until_ready()
        yield world
