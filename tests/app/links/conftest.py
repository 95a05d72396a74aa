"""Fixtures of the links' tests: what may differ between the databases is tried on both."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from app.links.deleted_slugs import DeletedSlugs
from app.links.store import LinkStore
from app.links.targets import Target
from keel.data.database import Database
from keel.data.local_cache import LocalCache
from keel.service import Apps

Client = Callable[..., httpx.AsyncClient]


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
