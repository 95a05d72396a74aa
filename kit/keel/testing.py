"""Fixtures for the tests of a service. Set `pytest_plugins = ["keel.testing"]`, and write a fixture `service`.

They run the service in the test's process, on a migrated SQLite file, with tokens signed by the test's own key. Tests
that use them are coroutines marked by `pytest.mark.anyio`. They need pytest, httpx and anyio.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from keel.data import migrate
from keel.data.database import METADATA
from keel.data.database_engine import create_engine
from keel.http import websockets
from keel.security import dev_token
from keel.server import Server, listen
from keel.service import Apps, Service
from keel.settings import Settings

HOST = "service.test"

Token = Callable[[str], str]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The event loop of the tests."""
    return "asyncio"


@pytest.fixture(autouse=True)
def clean_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the developer's own variables, so that they do not change a test."""
    prefixes = tuple(str(each.model_config.get("env_prefix", "")) for each in service.settings_classes)
    for name in os.environ:
        if name.startswith(prefixes):
            monkeypatch.delenv(name)


@pytest.fixture
def settings(service: Service, tmp_path: Path) -> Settings:
    """The settings of the service; override this fixture to change them."""
    return service.settings.model_validate(
        {
            "database_url": f"sqlite:///{tmp_path}/service.db",
            "dev_key_file": tmp_path / "dev-key.json",
            "public_url": f"https://{HOST}",
        }
    )


@pytest.fixture
def token(settings: Settings) -> Token:
    """A function that makes an access token with scopes, which are separated by spaces."""
    key = dev_token.obtain_key(settings.dev_key_file)

    def mint(scope: str) -> str:
        who = {"issuer": settings.jwt_issuer, "audience": settings.jwt_audience, "subject": "alice"}
        return dev_token.mint(key, **who, scope=scope, expires_in=300)

    return mint


@pytest.fixture
async def prepared(service: Service, settings: Settings) -> None:
    """Migrates the database, and makes the key of the tokens."""
    if service.product.has_database:
        await migrate.migrate(settings)
    if service.product.tokens:
        dev_token.obtain_key(settings.dev_key_file)


@pytest.fixture
async def apps(service: Service, settings: Settings, prepared: None) -> AsyncIterator[Apps]:
    """The two applications of the service, migrated, started and ready."""
    del prepared
    apps = service.build(settings)
    async with apps.public.router.lifespan_context(apps.public):
        apps.health.started = True
        async with asyncio.timeout(30):
            while not apps.health.ready:  # noqa: ASYNC110  # until its dependencies have been checked
                await asyncio.sleep(0.01)
        yield apps


@pytest.fixture
async def client(apps: Apps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the public port. An error in the application is a response, as with a real server."""
    transport = httpx.ASGITransport(apps.public, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}") as client:
        yield client


@pytest.fixture
async def management(apps: Apps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the management port."""
    transport = httpx.ASGITransport(apps.management)
    async with httpx.AsyncClient(transport=transport, base_url="http://management") as client:
        yield client


@pytest.fixture
async def address(service: Service, settings: Settings, prepared: None) -> AsyncIterator[str]:
    """Host and port of the service behind a real server: for streams and WebSockets, which `client` does not know."""
    del prepared
    apps = service.build(settings)
    protocol = websockets.protocol() if apps.has_websockets else None
    with listen("127.0.0.1", 0, "APP") as listener:
        server = Server(apps.public, settings, apps.limits, websocket=protocol)
        serving = asyncio.create_task(server.run_on(listener))
        await server.listening.wait()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        apps.streams.drain(0)
        server.should_exit = True
        await serving


async def differences(service: Service, settings: Settings) -> list[Any]:
    """The differences between the migrations and the tables in the code, by Alembic; empty if there are none."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415  # no server needs Alembic
    from alembic.migration import MigrationContext  # noqa: PLC0415

    del service  # its import has registered the tables
    await migrate.migrate(settings)
    engine = create_engine(settings)
    try:
        async with engine.connect() as connection:
            found: list[Any] = await connection.run_sync(
                lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA)
            )
    finally:
        await engine.dispose()
    return found
