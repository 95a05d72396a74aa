"""A name with two addresses, of which the first answers nothing: every client reaches the second within its time."""

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, KeySet
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from k8s import certificates
from keel import cli, happy_eyeballs, server
from keel.data import migrate, valkey
from keel.data.database import Database
from keel.happy_eyeballs import EventLoop, connect, connect_blocking
from keel.observability import tracing
from keel.security.jwks import JwksUrl
from keel.service import Configuration
from tests.kit.subject import SERVICE, Settings
from tests.support.servers import PostgreSQL
from tests.support.servers import Valkey as Server

pytestmark = pytest.mark.anyio

NAME = "two-addresses.example.com"
SECONDS = 5.0  # the time-out of every client here: the first address alone would take all of it

Resolve = Callable[..., None]


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The event loop that the service runs on."""
    return "asyncio", {"loop_factory": EventLoop}


@pytest.fixture
def hole() -> Iterator[int]:
    """A port that answers nothing: nobody accepts, the backlog is full, and the kernel drops what else arrives."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(10):
            filling = stack.enter_context(socket.socket())
            filling.settimeout(0.2)
            try:
                filling.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            pytest.fail("the kernel takes every connection")
        yield port


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Has NAME lead to these ports of 127.0.0.1, one after the other, for each resolver that clients use."""
    ask, ask_uvloop = socket.getaddrinfo, EventLoop.getaddrinfo

    def resolve(*ports: int) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports]

        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            return found if host == NAME else ask(host, *arguments, **options)

        async def getaddrinfo_uvloop(loop: Any, host: Any, *arguments: Any, **options: Any) -> Any:
            return found if host == NAME else await ask_uvloop(loop, host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(EventLoop, "getaddrinfo", getaddrinfo_uvloop, raising=False)

    return resolve


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


class Peer(ThreadingHTTPServer):
    """An issuer, with a key set for who asks, and a collector, which takes what it is sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.keys = json.dumps(KeySet([ECKey.generate_key("P-256", {"kid": "one"})]).as_dict(private=False)).encode()
        self.hosts: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class _Answer(BaseHTTPRequestHandler):
    server: Peer

    def do_GET(self) -> None:
        self._answer(self.server.keys)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.server.hosts.append(self.headers["Host"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=["http", "https"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def peer(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peer]:
    """Over TLS its certificate is for NAME, and what it is signed by is trusted."""
    peer = Peer()
    if scheme == "https":
        authority = certificates.ensure_authority(tmp_path)
        pair = certificates.ensure_server(tmp_path, "peer", [NAME], authority)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        peer.socket = context.wrap_socket(peer.socket, server_side=True)
        for name in ("SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"):
            monkeypatch.setenv(name, str(authority.certificate))
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # which the exporter's library would put above those
            monkeypatch.delenv(name, raising=False)
    thread = threading.Thread(target=peer.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield peer
    peer.shutdown()
    thread.join()
    peer.server_close()


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


async def test_the_next_address_is_tried_while_the_first_is_silent(
    resolve: Resolve, hole: int, listener: socket.socket
) -> None:
    resolve(hole, hole, port_of(listener))
    async with asyncio.timeout(SECONDS):
        with await connect(NAME, None) as connected:
            assert connected.getpeername() == listener.getsockname()
            assert connected.gettimeout() == 0


async def test_the_first_keeps_its_chance(
    resolve: Resolve, hole: int, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_eyeballs, "HEAD_START_SECONDS", 0)
    resolve(port_of(listener), hole)
    async with asyncio.timeout(SECONDS):
        with await connect(NAME, None) as connected:
            assert connected.getpeername() == listener.getsockname()


async def test_after_a_refusal_the_next_is_tried_at_once(
    resolve: Resolve, unused_port: int, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_eyeballs, "HEAD_START_SECONDS", 3600)
    resolve(unused_port, port_of(listener))
    async with asyncio.timeout(SECONDS):
        with await connect(NAME, None) as connected:
            assert connected.getpeername() == listener.getsockname()


async def test_where_all_refuse_each_is_named(resolve: Resolve, unused_port: int) -> None:
    resolve(unused_port)
    with pytest.raises(ConnectionRefusedError, match=f"Connection refused: 127.0.0.1 port {unused_port}$"):
        await connect(NAME, None)
    resolve(unused_port, unused_port)
    with pytest.raises(OSError, match=r"refused.*; .*refused"):
        await connect(NAME, None)


async def test_a_name_that_there_is_not() -> None:
    with pytest.raises(socket.gaierror):
        await connect("nowhere.invalid", 80)


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_what_is_given_up_is_closed(resolve: Resolve, hole: int) -> None:
    resolve(hole, hole)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * happy_eyeballs.HEAD_START_SECONDS):
            await connect(NAME, None)
    await asyncio.sleep(0)  # the attempts notice that they are cancelled
    assert not [task for task in asyncio.all_tasks() if "_attempt" in repr(task)]


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_what_comes_second_is_closed(
    resolve: Resolve, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_eyeballs, "HEAD_START_SECONDS", 0)
    resolve(*[port_of(listener)] * 10)
    for _ in range(10):
        (await connect(NAME, None)).close()
    gc.collect()


def test_a_thread_without_an_event_loop(resolve: Resolve, hole: int, listener: socket.socket) -> None:
    resolve(hole, port_of(listener))
    with connect_blocking(NAME, None, SECONDS) as connected:
        assert connected.gettimeout() == SECONDS
    resolve(hole)
    with pytest.raises(TimeoutError):
        connect_blocking(NAME, None, 0.1)


def test_the_families_take_turns() -> None:
    found = [(family, 1, 6, "", number) for number, family in enumerate([10, 10, 10, 2])]
    assert happy_eyeballs._alternating(found) == [(10, 0), (2, 3), (10, 1), (10, 2)]


async def test_a_certificate_is_for_the_name_and_for_no_other(resolve: Resolve, hole: int, tmp_path: Path) -> None:
    authority = certificates.ensure_authority(tmp_path)
    contexts = []
    for host in (NAME, "other.example.com"):
        pair = certificates.ensure_server(tmp_path, host, [host], authority)
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(pair.certificate, pair.key)
    trusting = ssl.create_default_context(cafile=authority.certificate)
    mine, other = [
        await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        for context in contexts
    ]
    async with mine, other, asyncio.timeout(SECONDS):
        resolve(hole, port_of(mine.sockets[0]))
        _, writer = await asyncio.open_connection(NAME, None, ssl=trusting)
        assert writer.get_extra_info("ssl_object").server_hostname == NAME
        writer.close()
        resolve(hole, port_of(other.sockets[0]))
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await asyncio.open_connection(NAME, None, ssl=trusting)


async def test_the_issuer_of_tokens(resolve: Resolve, hole: int, peer: Peer, scheme: str) -> None:
    resolve(hole, peer.server_port)
    registry = CollectorRegistry()
    keys = JwksUrl(f"{scheme}://{NAME}/keys", refresh=60, cooldown=60, timeout=SECONDS, registry=registry)
    await keys.refetch()
    assert [key.kid for key in keys.current()] == ["one"]
    assert peer.hosts == [NAME]


def test_the_collector(
    resolve: Resolve, hole: int, peer: Peer, scheme: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(SECONDS))
    resolve(hole, peer.server_port)
    settings = settings.model_copy(update={"otlp_endpoint": f"{scheme}://{NAME}"})
    provider = tracing.create_provider(settings, CollectorRegistry())
    started = time.monotonic()
    with provider.get_tracer("test").start_as_current_span("span"):
        pass
    assert provider.force_flush()
    assert time.monotonic() - started < SECONDS  # else the exporter has waited, and then tried the next
    assert peer.hosts == [NAME]
    provider.shutdown()


def test_the_service_and_its_migrations_connect_so(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[object] = []

    async def note(*_: object) -> int:
        loops.append(type(asyncio.get_running_loop()))
        return 0

    monkeypatch.setattr(server, "serve", note)
    monkeypatch.setattr(migrate, "migrate", note)
    call = cli.Call(SERVICE, Configuration(settings), Namespace(new=None))
    assert cli._serve(call) == cli._migrate(call) == 0
    assert loops == [EventLoop, EventLoop]


async def test_the_database(resolve: Resolve, hole: int, postgresql: PostgreSQL, postgresql_settings: Settings) -> None:
    resolve(hole, postgresql.port)
    url = postgresql_settings.database.set(host=NAME).render_as_string(hide_password=False)
    given = {"database_url": url, "database_connect_timeout_seconds": SECONDS, "migrate_wait_seconds": 0}
    settings = Settings(**postgresql_settings.model_dump() | given)
    await migrate.migrate(settings)
    database = Database(settings)
    try:
        await database.check()
        async with database.reading() as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
    finally:
        await database.close()


async def test_valkey(resolve: Resolve, hole: int, valkey_server: Server, settings: Settings) -> None:
    valkey_server.reset()
    resolve(hole, valkey_server.port)
    url = valkey_server.url.replace("127.0.0.1", NAME)
    given = {"valkey_url": url, "valkey_timeout_seconds": SECONDS}
    client = valkey.from_settings(Settings(**settings.model_dump() | given), CollectorRegistry())
    assert client
    try:
        await client.check()
    finally:
        await client.close()
