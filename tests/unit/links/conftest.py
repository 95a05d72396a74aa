"""Fixtures of the links' tests: what may differ between the databases is tried on both."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from app.links.deleted_slugs import DeletedSlugs
from app.links.store import LinkStore
from app.links.targets import Target
from keel.data import migrate
from keel.data.database import Database
from keel.data.local_cache import LocalCache
from keel.service import Apps
from tests.unit.product import SERVICE, Settings

Client = Callable[..., httpx.AsyncClient]


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Settings:
    name = "settings" if request.param == "sqlite" else "postgresql_settings"
    settings: Settings = request.getfixturevalue(name)
    return settings


@pytest.fixture(scope="session")
def migrated() -> list[bytes]:
    """SQLite's file as the first test's migration left it: to copy it is much quicker than to make it anew."""
    return []


async def prepare(settings: Settings, migrated: list[bytes]) -> None:
    if not settings.is_sqlite:
        await migrate.migrate(settings)
        return
    file = Path(str(settings.database.database))
    if not migrated:
        await migrate.migrate(settings)
        migrated.append(file.read_bytes())  # noqa: ASYNC240 - nothing else runs
    file.write_bytes(migrated[0])  # noqa: ASYNC240


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def database(either: Settings, registry: CollectorRegistry, migrated: list[bytes]) -> AsyncIterator[Database]:
    await prepare(either, migrated)
    database = Database(either, registry)
    yield database
    await database.close()


class Targets(LocalCache[Target]):
    """Without a cache in between, unless told to keep something."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__(seconds, seconds, 1000)

    async def changed(self, key: str) -> None:
        self.forget(key)


@pytest.fixture
def deleted(database: Database) -> DeletedSlugs:
    return DeletedSlugs(database, days=30)


@pytest.fixture
def store(database: Database, deleted: DeletedSlugs) -> LinkStore:
    return LinkStore(database, Targets(), deleted)


@pytest.fixture
def cached(database: Database, deleted: DeletedSlugs) -> LinkStore:
    return LinkStore(database, Targets(seconds=60), deleted)


@pytest.fixture
async def service(
    request: pytest.FixtureRequest, settings: Settings, log_lines: Any, migrated: list[bytes]
) -> AsyncIterator[Apps]:
    """The application, migrated and started: on SQLite, or on what a test of both databases is at."""
    del log_lines
    chosen: Settings = request.getfixturevalue("either") if "either" in request.fixturenames else settings
    await prepare(chosen, migrated)
    service = SERVICE.build(chosen)
    async with service.public.router.lifespan_context(service.public):
        service.health.started = True
        yield service


@pytest.fixture
async def as_user(service: Apps, mint: Callable[..., str]) -> AsyncIterator[Client]:
    """Makes clients of the public port: by default alice's, who may read and write links."""
    clients = []

    def as_user(subject: str = "alice", scope: str = "links:read links:write") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(service.public, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {mint(sub=subject, scope=scope)}"}
        client = httpx.AsyncClient(transport=transport, base_url="https://links.example.com", headers=headers)
        clients.append(client)
        return client

    yield as_user
    for client in clients:
        await client.aclose()


@pytest.fixture
def alice(as_user: Client) -> httpx.AsyncClient:
    return as_user()


@pytest.fixture
def bob(as_user: Client) -> httpx.AsyncClient:
    return as_user("bob")


@pytest.fixture
def admin(as_user: Client) -> httpx.AsyncClient:
    return as_user("root", "links:read links:write links:admin")
