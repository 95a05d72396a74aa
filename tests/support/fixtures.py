"""Fixtures of whatever tests a service: the real application in process, a real PostgreSQL and a real Valkey.

Which service that is, the fixture `subject` says, which each folder of tests has in a conftest of its own.
"""

import asyncio
import io
import json
import logging
import os
import shutil
import socketserver
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.jws import JWSRegistry
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from keel.data import migrate
from keel.data.database import Database
from keel.http import websockets
from keel.observability import logs
from keel.server import Server, listen
from keel.service import Apps, Service
from keel.settings import Settings
from tests.support import databases
from tests.support.clock import Clock
from tests.support.collector import Collector
from tests.support.issuer import Issuer
from tests.support.processes import App
from tests.support.servers import PostgreSQL, Valkey, ValkeyNode
from toolkit import valkey_programs

ISSUER = "https://issuer.example.com"

# How busy the machine is, is no property of what is tested.
hypothesis.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.load_profile("any machine")

Logs = Callable[[], list[dict[str, Any]]]


@dataclass(frozen=True)
class Subject:
    """The service under test."""

    service: Service
    public_url: str
    scope: str
    """Of a token that may write."""

    @property
    def audience(self) -> str:
        return self.service.product.name


class Migrations:
    """Brings the tables of a service to a test's empty database.

    The first test's are made by the migrations, and those of all others are copies: to copy is much quicker.
    """

    def __init__(self, server: Callable[[], PostgreSQL]) -> None:
        self._server = server
        self._files: dict[str, bytes] = {}
        self._templates: dict[str, str] = {}

    async def bring(self, settings: Settings) -> None:
        if settings.dialect.is_file:
            await self._to_a_file(settings, Path(str(settings.database.database)))
        else:
            await self._to_a_server(settings, self._server())

    async def _to_a_file(self, settings: Settings, file: Path) -> None:
        name = settings.product.name
        if name not in self._files:
            await migrate.migrate(settings)
            self._files[name] = file.read_bytes()  # noqa: ASYNC240 - nothing else runs
        file.write_bytes(self._files[name])  # noqa: ASYNC240

    async def _to_a_server(self, settings: Settings, server: PostgreSQL) -> None:
        name, database = settings.product.name, settings.database.database
        if template := self._templates.get(name):
            server.execute(f"DROP DATABASE {database}", f"CREATE DATABASE {database} TEMPLATE {template}")
        else:
            await migrate.migrate(settings)
            template = self._templates[name] = f"template_{len(self._templates)}_of_tests"
            server.execute(f"CREATE DATABASE {template} TEMPLATE {database}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Not uvloop, whose loops hang in close() over what a failed test has left open."""
    return "asyncio"


@pytest.fixture
def clean_environment(subject: Subject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file of the developer's decides a test."""
    prefixes = tuple(str(settings.model_config.get("env_prefix")) for settings in subject.service.settings_classes)
    for name in os.environ:
        if name.startswith(prefixes):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clean_logging() -> Iterator[None]:
    """No test logs to the stream of another one, which may be closed."""
    handlers, level = logging.root.handlers, logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.root.handlers = handlers
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def signing_key() -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)


@pytest.fixture
def jwks_file(tmp_path: Path, signing_key: ECKey) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet([signing_key]).as_dict(private=False)))
    return path


class AnyHeader(JWSRegistry):
    max_header_length = 10_000

    def __init__(self, algorithms: list[str]) -> None:
        super().__init__(algorithms=algorithms, strict_check_header=False)


@pytest.fixture
def mint(subject: Subject, signing_key: ECKey) -> Callable[..., str]:
    """Makes an access token; keyword arguments replace claims, None leaves one out."""

    def mint(key: Any = signing_key, header: dict[str, Any] | None = None, **claims: Any) -> str:
        now = int(time.time())
        standard = {
            "iss": ISSUER,
            "aud": subject.audience,
            "sub": "alice",
            "scope": subject.scope,
            "iat": now,
            "exp": now + 60,
        }
        chosen = {name: value for name, value in (standard | claims).items() if value is not None}
        head = {"alg": "ES256", "kid": signing_key.kid} | (header or {})
        return jwt.encode(head, chosen, key, registry=AnyHeader([head["alg"]]))

    return mint


@pytest.fixture
def settings(subject: Subject, tmp_path: Path, jwks_file: Path) -> Settings:
    return subject.service.settings(
        database_url=SecretStr(f"sqlite:///{tmp_path}/test.db"),
        jwks_file=jwks_file,
        jwt_issuer=ISSUER,
        jwt_audience=subject.audience,
        public_url=subject.public_url,
        trusted_hosts="test",
        log_format="json",
    )


@pytest.fixture
def log_lines(settings: Settings) -> Logs:
    """What has been logged, as objects."""
    stream = io.StringIO()
    logs.configure(settings, stream)

    def lines() -> list[dict[str, Any]]:
        if logs.output:
            logs.output.writer.flush()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return lines


@pytest.fixture
async def service(
    request: pytest.FixtureRequest, subject: Subject, settings: Settings, log_lines: Logs, migrations: Migrations
) -> AsyncIterator[Apps]:
    """The application, migrated and started: on SQLite, or on what a test of both databases is at."""
    del log_lines
    chosen: Settings = request.getfixturevalue("either") if "either" in request.fixturenames else settings
    await migrations.bring(chosen)
    service = subject.service.build(chosen)
    async with service.public.router.lifespan_context(service.public):
        service.health.started = True
        yield service


@pytest.fixture
async def client(subject: Subject, service: Apps) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the public port, to which errors are answered as a server would."""
    transport = httpx.ASGITransport(service.public, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=subject.public_url) as client:
        yield client


@pytest.fixture
async def writer(client: httpx.AsyncClient, mint: Callable[..., str]) -> httpx.AsyncClient:
    """A client of the public port whose token may write."""
    client.headers["Authorization"] = f"Bearer {mint()}"
    return client


@pytest.fixture
async def management(service: Apps) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(service.management)
    async with httpx.AsyncClient(transport=transport, base_url="http://management") as client:
        yield client


@pytest.fixture
async def address(subject: Subject, settings: Settings, log_lines: Logs) -> AsyncIterator[str]:
    """Of the application behind a real server, without limits on how often one may ask."""
    del log_lines
    await migrate.migrate(settings)
    with listen("127.0.0.1", 0, "APP") as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        unlimited = {"rate_limit_address_per_minute": 0, "rate_limit_token_per_minute": 0}
        chosen = settings.model_copy(update={"public_url": url, **unlimited})
        service = subject.service.build(chosen)
        protocol = websockets.protocol() if service.has_websockets else None
        server = Server(service.public, chosen, service.limits, websocket=protocol)
        serving = asyncio.create_task(server.run_on(listener))
        await server.listening.wait()
        yield url
        server.should_exit = True
        await serving


@pytest.fixture
def start(subject: Subject, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Starts the service as a process on free ports, with these variables."""
    started: list[App] = []

    def start(**variables: str) -> App:
        started.append(App(subject.service, tmp_path, **variables))
        return started[-1]

    yield start
    for app in started:
        if app.process.poll() is None:
            app.process.kill()
            app.end()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Waits for a condition, letting the event loop run."""

    async def until(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    return until


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))
    server = PostgreSQL(directory)
    server.create()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture
def postgresql_settings(
    postgresql: PostgreSQL, settings: Settings, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """Settings with an empty database of the test's own."""
    name = f"test_{abs(hash(request.node.nodeid))}"
    postgresql.execute(f"CREATE DATABASE {name}")
    yield type(settings)(**settings.model_dump() | {"database_url": postgresql.url(name)})
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def postgresql_client(
    subject: Subject, postgresql_settings: Settings, mint: Callable[..., str], migrations: Migrations
) -> AsyncIterator[httpx.AsyncClient]:
    """A client, with a token that may write, of the service on an empty PostgreSQL."""
    await migrations.bring(postgresql_settings)
    service = subject.service.build(postgresql_settings)
    headers = {"Authorization": f"Bearer {mint()}"}
    transport = httpx.ASGITransport(service.public)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client,
    ):
        yield client


@pytest.fixture(params=databases.NAMES)
def either(request: pytest.FixtureRequest) -> Settings:
    """Settings with an empty database of each kind."""
    return databases.settings_of(request.param, request)


@pytest.fixture(scope="session")
def migrations(request: pytest.FixtureRequest) -> Migrations:
    return Migrations(lambda: request.getfixturevalue("postgresql"))


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def database(either: Settings, registry: CollectorRegistry, migrations: Migrations) -> AsyncIterator[Database]:
    await migrations.bring(either)
    database = Database(either, registry)
    yield database
    await database.close()


@pytest.fixture(scope="session")
def valkey_program() -> list[str]:
    program = valkey_programs.obtain()
    if program is None:
        pytest.fail("These tests need valkey-server on the PATH: install it, as with apt-get install valkey-server.")
    return program


@pytest.fixture(scope="session")
def valkey_server(valkey_program: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(valkey_program, tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_node(valkey_program: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyNode]:
    """A cluster of one node; use `valkey_cluster`."""
    node = ValkeyNode(valkey_program, tmp_path_factory.mktemp("valkey-cluster"))
    yield node
    node.stop()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A server that runs and is empty, whatever the test before has done to it."""
    valkey_server.reset()
    return valkey_server


@pytest.fixture
def valkey_cluster(valkey_node: ValkeyNode) -> ValkeyNode:
    """A cluster of one node, likewise."""
    valkey_node.reset()
    return valkey_node


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.open.set()
    server.shutdown()
    thread.join()
    socketserver.TCPServer.server_close(server)


@pytest.fixture
def certificate(issuer: Issuer, tmp_path: Path) -> Path:
    """Of the issuer, which then speaks TLS."""
    return issuer.speak_tls(tmp_path)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield collector
    collector.server.shutdown()
    thread.join()
    collector.server.server_close()
