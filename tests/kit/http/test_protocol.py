"""What is on the wire: a real server, and clients that write bytes."""

import asyncio
import contextlib
import fcntl
import json
import sys
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.lifespan.off import LifespanOff
from uvicorn.protocols.utils import get_remote_addr

from keel.http import protocol as http_protocol
from keel.http.protocol import MAX_TARGET_BYTES, ConnectionLimits, enforce_head_timeouts
from keel.server import Server, listen
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]

PATIENCE = 10  # seconds, for what should take none

HOST = b"Host: test\r\n"
GET = b"GET /page HTTP/1.1\r\n" + HOST
POST = b"POST /page HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was asked, once the whole body is there."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
    seen = {"path": scope["path"], "headers": headers, "body": body.decode("latin-1")}
    await answer(send, json.dumps(seen).encode())


def echo_after(go_on: asyncio.Event) -> ASGIApp:
    """The same, but not before it may."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await go_on.wait()
        await echo(scope, receive, send)

    return app


async def answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


@dataclass
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(headers["content-length"]))
        return Answer(int(head[0].split()[1]), headers, body)

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def closed(self) -> bool:
        """Whether the server closes or resets it, without another answer."""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                return await self.reader.read() == b""
        return True


def unread(connection: Any) -> int:
    """Bytes that have arrived at this end of a connection, and not been read."""
    count = fcntl.ioctl(connection.transport.get_extra_info("socket"), termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


class Wire:
    """One server, and connections to it."""

    def __init__(self, server: Server, registry: CollectorRegistry, port: int) -> None:
        self.server = server
        self.registry = registry
        self.port = port
        self.clients: list[asyncio.StreamWriter] = []
        self.time = 0.0

    async def connect(self) -> Connection:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(connection.writer)
        ours = connection.writer.get_extra_info("sockname")
        while all(get_remote_addr(each.transport) != ours for each in self.server.server_state.connections):  # noqa: ASYNC110
            await asyncio.sleep(0)
        return connection

    async def close(self) -> None:
        for client in self.clients:
            client.close()
            with contextlib.suppress(ConnectionError):
                await client.wait_closed()

    async def settle(self) -> None:
        """Wait until the server has taken in all that was sent."""
        while any(map(unread, self.server.server_state.connections)):  # noqa: ASYNC110
            await asyncio.sleep(0)

    def later(self, seconds: float) -> None:
        """Look at the time twice, as if that much had passed in between."""
        enforce_head_timeouts(self.server.server_state.connections, self.time)
        self.time += seconds
        enforce_head_timeouts(self.server.server_state.connections, self.time)

    def refused(self, reason: str) -> float | None:
        return self.registry.get_sample_value("http_connections_refused_total", {"reason": reason})


@pytest.fixture
async def serve(settings: Settings, log_lines: Logs) -> AsyncIterator[Callable[..., Awaitable[Wire]]]:
    del log_lines
    async with contextlib.AsyncExitStack() as stack:

        async def serve(app: ASGIApp = echo, **changes: Any) -> Wire:
            chosen = settings.model_copy(update=changes)
            registry = CollectorRegistry()
            server = Server(app, chosen, ConnectionLimits(chosen, registry))
            # Only what accepts connections: starting and stopping the rest takes time.
            server.config.load()
            server.lifespan = LifespanOff(server.config)
            listener = stack.enter_context(listen("127.0.0.1", 0, "APP"))
            await server.startup([listener])
            await server.on_tick(0)
            stack.push_async_callback(stop, server)
            wire = Wire(server, registry, listener.getsockname()[1])
            stack.push_async_callback(wire.close)
            return wire

        yield serve


async def stop(server: Server) -> None:
    for each in server.servers:
        each.close()
    server.cut_off()
    while server.server_state.connections:  # noqa: ASYNC110
        await asyncio.sleep(0)


@pytest.fixture
async def wire(serve: Callable[..., Awaitable[Wire]]) -> Wire:
    return await serve()


def check_refusal(answer: Answer, status: int, title: str) -> None:
    assert (answer.status, answer.json["status"], answer.json["title"]) == (status, status, title)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strict-transport-security"]
    assert answer.headers["date"]
    assert answer.headers["x-request-id"] == answer.json["request_id"]
    assert answer.json["type"] == "about:blank"


async def test_an_ordinary_request(wire: Wire) -> None:
    connection = await wire.connect()
    for _ in range(2):
        found = await connection.ask(POST + b"Content-Length: 2\r\n\r\nhi")
        assert (found.status, found.json["body"]) == (200, "hi")


@pytest.mark.parametrize(
    ("request_bytes", "status", "title", "reason"),
    [
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "HTTP Version Not Supported", "version"),
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", 505, "HTTP Version Not Supported", "version"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Not Implemented", "coding"),
        (
            POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            *(501, "Not Implemented", "coding"),
        ),
    ],
)
async def test_what_is_http_that_is_not_spoken_here_is_refused(
    wire: Wire, request_bytes: bytes, status: int, title: str, reason: str
) -> None:
    connection = await wire.connect()
    check_refusal(await connection.ask(request_bytes), status, title)
    assert await connection.closed()
    assert wire.refused(reason) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS where none is spoken
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT /page HTTP/1.1\r\n" + HOST + b"\r\n",
        GET + b"No colon\r\n\r\n",
        GET + b": nameless\r\n\r\n",
        GET + b"X: nul\x00\r\n\r\n",
        # What smugglers send: two parties that read these differently see different requests (RFC 9112, 11.2).
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na",
        POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na",
        POST + b"Content-Length: 1, 1\r\n\r\na",
        POST + b"Content-Length: +1\r\n\r\na",
        POST + b"Content-Length: 0x1\r\n\r\na",
        POST + b"Content-Length: -1\r\n\r\na",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\na",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        GET + b"X: folded\r\n here\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: test\r\n\r\n",
        b"GET / HTTP/1.1\nHost: test\n\n",
        b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\rX: y\r\n\r\n",
        CHUNKED + b"1\na\r\n0\r\n\r\n",
        CHUNKED + b"1;a\nb\r\na\r\n0\r\n\r\n",
        CHUNKED + b"-1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"0x1\r\na\r\n0\r\n\r\n",
        CHUNKED + b"1\r\nab\r\n0\r\n\r\n",
        CHUNKED + b"ffffffffffffffffff\r\na\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused(wire: Wire, log_lines: Logs, request_bytes: bytes) -> None:
    connection = await wire.connect()
    refusal = await connection.ask(request_bytes)
    check_refusal(refusal, 400, "Bad Request")
    assert await connection.closed()
    assert wire.refused("malformed") == 1
    (line,) = log_lines()
    assert (line["message"], line["log.level"], line["event.reason"]) == ("connection refused", "info", "malformed")
    assert (line["client.address"], line["http.request.id"]) == ("127.0.0.1", refusal.headers["x-request-id"])


async def test_a_head_at_the_limit_and_one_beyond(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve(max_head_bytes=1024)
    whole = GET + b"X: " + b"x" * (1024 - len(GET) - 7) + b"\r\n\r\n"
    assert len(whole) == 1024
    assert (await (await wire.connect()).ask(whole)).status == 200
    check_refusal(
        await (await wire.connect()).ask(GET + b"Y" + whole[len(GET) :]), 431, "Request Header Fields Too Large"
    )
    assert wire.refused("head_too_large") == 1


@pytest.mark.parametrize("begin", [GET + b"X: ", GET + b"X", b"\r\n" * 10, CHUNKED + b"1;x=", CHUNKED + b"0\r\nX: "])
async def test_nothing_goes_on_without_end(wire: Wire, begin: bytes) -> None:
    """Neither a header, nor a chunk's extension, nor a trailer is taken in piece by piece forever."""
    connection = await wire.connect()
    await connection.send(begin)
    for _ in range(20):  # which the server soon ceases to read
        await connection.send((b"\r\n" if begin.isspace() else b"xx") * 1024)
    check_refusal(await connection.answer(), 431, "Request Header Fields Too Large")
    assert await connection.closed()


async def test_bodies_are_not_heads(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve(max_head_bytes=1024)
    connection = await wire.connect()
    for _ in range(2):
        found = await connection.ask(POST + b"Content-Length: 60000\r\n\r\n" + b"x" * 60_000)
        assert (found.status, len(found.json["body"])) == (200, 60_000)
    many = b"".join(b"9\r\n%09d\r\n" % number for number in range(5000))
    found = await connection.ask(CHUNKED + many + b"0\r\n\r\n")
    assert (found.status, len(found.json["body"])) == (200, 45_000)


async def test_pipelined_requests_are_not_one_head(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve(max_head_bytes=1024)
    connection = await wire.connect()
    request = GET + b"\r\n"
    stream = request * 200
    for start in range(0, len(stream), 1000):
        await connection.send(stream[start : start + 1000])
    assert [(await connection.answer()).status for _ in range(200)] == [200] * 200


@pytest.mark.parametrize("requests", [2_000, 20_000])
async def test_requests_that_wait_are_bounded(
    serve: Callable[..., Awaitable[Wire]], until: Until, requests: int
) -> None:
    """With uvicorn 0.54.0 alone each of them was a request at once, of some kilobytes."""
    go_on = asyncio.Event()
    wire = await serve(echo_after(go_on))
    connection = await wire.connect()
    ours: Any = next(iter(wire.server.server_state.connections))
    connection.writer.write((GET + b"\r\n") * requests)
    await until(lambda: ours.flow.read_paused)
    assert len(ours.pipeline) < http_protocol.PIECE_BYTES // len(GET) + 2
    assert len(ours._held) <= 512 * 1024
    go_on.set()
    assert [(await connection.answer()).status for _ in range(requests)] == [200] * requests
    assert (await connection.ask(GET + b"\r\n")).status == 200


async def test_a_long_target(wire: Wire) -> None:
    target = b"/" + b"x" * (MAX_TARGET_BYTES - 1)
    assert (await (await wire.connect()).ask(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")).status == 200
    check_refusal(await (await wire.connect()).ask(b"GET " + target + b"x"), 414, "URI Too Long")
    assert wire.refused("target_too_long") == 1


async def test_a_slow_head(wire: Wire) -> None:
    connection = await wire.connect()
    await connection.ask(GET + b"\r\n")
    await connection.send(GET)
    await wire.settle()
    wire.later(9.9)
    assert wire.refused("timeout") == 0
    wire.later(10)
    check_refusal(await connection.answer(), 408, "Request Timeout")
    assert await connection.closed()
    assert wire.refused("timeout") == 1


async def test_the_server_looks_at_the_time_by_itself(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve(head_timeout_seconds=0.01)
    loop = asyncio.create_task(wire.server.main_loop())
    check_refusal(await (await wire.connect()).ask(GET), 408, "Request Timeout")
    wire.server.should_exit = True
    await loop


async def test_time_for_one_head_is_not_taken_from_the_next(wire: Wire) -> None:
    connection = await wire.connect()
    for _ in range(3):
        await connection.send(GET)
        await wire.settle()
        wire.later(6)
        assert (await connection.ask(b"\r\n")).status == 200


async def test_a_connection_without_a_request_is_closed_like_an_idle_one(wire: Wire) -> None:
    connection = await wire.connect()
    wire.later(99)
    assert len(wire.server.server_state.connections) == 1
    wire.later(100)
    assert await connection.closed()
    assert wire.refused("timeout") == 0


async def test_an_idle_connection_is_left_to_its_timer(wire: Wire) -> None:
    connection = await wire.connect()
    await connection.ask(GET + b"\r\n")
    wire.later(10_000)
    assert (await connection.ask(GET + b"\r\n")).status == 200


async def test_a_request_being_answered_is_left_alone(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve()
    connection = await wire.connect()
    await connection.send(POST + b"Content-Length: 2\r\n\r\n")
    await wire.settle()
    wire.later(10_000)
    assert (await connection.ask(b"hi")).status == 200


async def early(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers without a look at the body."""
    if scope["type"] == "http":
        await answer(send, b"early")


@pytest.mark.parametrize(
    ("head", "rest"), [(POST + b"Content-Length: 100\r\n\r\n", b"x"), (CHUNKED, b"1;extension"), (CHUNKED, b"0\r\nX:")]
)
async def test_a_body_nobody_waits_for_is_not_awaited_forever(
    serve: Callable[..., Awaitable[Wire]], head: bytes, rest: bytes
) -> None:
    wire = await serve(early)
    connection = await wire.connect()
    assert (await connection.ask(head)).body == b"early"
    await connection.send(rest)
    await wire.settle()
    wire.later(100)
    assert await connection.closed()


async def test_an_answer_nobody_reads_is_not_kept_forever(serve: Callable[..., Awaitable[Wire]], until: Until) -> None:
    async def endless(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await answer(send, b"x" * 50_000_000)

    wire = await serve(endless)
    connection = await wire.connect()
    await connection.send(GET + b"Connection: close\r\n\r\n")
    (each,) = wire.server.server_state.connections
    await until(each.transport.is_closing)
    wire.later(9)
    for _ in range(3):
        await asyncio.sleep(0)
    assert wire.server.server_state.connections
    wire.later(10)
    await until(lambda: not wire.server.server_state.connections)


async def test_an_answer_under_way_is_not_spoilt_by_what_comes_behind(
    serve: Callable[..., Awaitable[Wire]],
) -> None:
    go_on = asyncio.Event()
    wire = await serve(echo_after(go_on))
    connection = await wire.connect()
    await connection.send(GET + b"\r\n" + b"nonsense")
    while not wire.refused("malformed"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await connection.send(b"more nonsense")
    await wire.settle()
    go_on.set()
    found = await connection.answer()
    assert (found.status, found.headers["connection"]) == (200, "close")
    assert await connection.closed()
    assert wire.refused("malformed") == 1


async def test_a_refusal_can_be_read_by_who_sent_more_than_was_read(wire: Wire) -> None:
    """Closed at once, the connection would be reset, and the answer lost."""
    connection = await wire.connect()
    await connection.send(GET + b"X: " + b"x" * 20_000_000)
    check_refusal(await connection.answer(), 431, "Request Header Fields Too Large")
    assert wire.refused("head_too_large") == 1


async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answers at once, as to a body that is too large, and closes the connection."""
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("size", [500_000, 5_000_000])
async def test_an_early_answer_can_be_read_by_who_sends_the_whole_body_first(
    serve: Callable[..., Awaitable[Wire]], size: int, until: Until
) -> None:
    """As urllib.request does: closed at once, 15 of 15 connections were reset with uvicorn 0.54.0."""
    wire = await serve(refuse)
    for _ in range(15):
        connection = await wire.connect()
        await connection.send(POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        answer = await connection.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await connection.closed()
        connection.writer.close()
    await until(lambda: not wire.server.server_state.connections)


async def test_a_body_that_nobody_wants_has_an_end(
    serve: Callable[..., Awaitable[Wire]], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_BYTES", 100_000)
    wire = await serve(refuse)
    long, slow = await wire.connect(), await wire.connect()
    head = POST + b"Content-Length: 1000000\r\n\r\n"
    assert (await long.ask(head)).status == (await slow.ask(head)).status == 413
    long.writer.write(b"x" * 100_001)
    await until(lambda: len(wire.server.server_state.connections) == 1)
    wire.later(10)
    await until(lambda: not wire.server.server_state.connections)


async def test_trailers_are_not_headers(wire: Wire) -> None:
    found = await (await wire.connect()).ask(CHUNKED + b"1\r\na\r\n0\r\nHost: evil\r\nX-Trailer: y\r\n\r\n")
    assert found.status == 200
    assert found.json["headers"] == {"host": "test", "transfer-encoding": "chunked"}


OFFERS = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",  # as Java's HttpClient
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n",
)
BODY = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"  # which looks like a request, as a body may
FRAMED = (
    (b"\r\n", b""),
    (b"Content-Length: 0\r\n\r\n", b""),
    (b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY), BODY),
    (b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY), BODY),
)


@pytest.mark.parametrize("offer", OFFERS, ids=["h2c", "websocket"])
@pytest.mark.parametrize(("framed", "body"), FRAMED, ids=["none", "empty", "length", "chunked"])
async def test_an_offer_of_another_protocol_is_ignored(wire: Wire, offer: bytes, framed: bytes, body: bytes) -> None:
    """RFC 9110, section 7.8, lets us. The request has its body, and those behind it are requests of their own."""
    connection = await wire.connect()
    await connection.send((POST + offer + framed) * 2 + GET + b"\r\n")
    for _ in range(2):
        found = await connection.answer()
        assert (found.status, found.json["path"], found.json["body"]) == (200, "/page", body.decode())
        assert found.json["headers"]["host"] == "test"
        assert "upgrade" not in found.json["headers"]
        assert "connection" not in found.headers
    found = await connection.answer()
    assert (found.status, found.json["headers"]) == (200, {"host": "test"})
    assert (await connection.ask(GET + b"\r\n")).status == 200


@pytest.mark.parametrize(("framed", "body"), FRAMED, ids=["none", "empty", "length", "chunked"])
async def test_likewise_wherever_it_is_cut(wire: Wire, framed: bytes, body: bytes) -> None:
    connection = await wire.connect()
    request = POST + OFFERS[0] + framed
    for cut in range(1, len(request)):
        await connection.send(request[:cut])
        await wire.settle()
        found = await connection.ask(request[cut:])
        assert (found.status, found.json["body"]) == (200, body.decode())


async def test_with_an_offer_a_connection_ends_as_without(wire: Wire) -> None:
    connection = await wire.connect()
    offer = b"Connection: close, Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
    found = await connection.ask(POST + offer)
    assert (found.status, found.json["body"], found.headers["connection"]) == (200, "hi", "close")
    assert await connection.closed()


@pytest.mark.parametrize(
    ("rest", "status", "title"),
    [
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Not Implemented"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, "Bad Request"),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, "Bad Request"),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400, "Bad Request"),
    ],
)
async def test_with_an_offer_the_same_is_refused(wire: Wire, rest: bytes, status: int, title: str) -> None:
    connection = await wire.connect()
    check_refusal(await connection.ask(POST + OFFERS[0] + rest), status, title)
    assert await connection.closed()


async def test_with_an_offer_a_head_has_the_same_limit(serve: Callable[..., Awaitable[Wire]]) -> None:
    wire = await serve(max_head_bytes=1024)
    head = GET + OFFERS[0]
    whole = head + b"X: " + b"x" * (1024 - len(head) - 7) + b"\r\n\r\n"
    connection = await wire.connect()
    for _ in range(2):
        assert (await connection.ask(whole)).status == 200
    check_refusal(await connection.ask(head + b"Y" + whole[len(head) :]), 431, "Request Header Fields Too Large")


@pytest.mark.parametrize(("target", "path", "query"), [(b"http://other", "/", ""), (b"http://other?x=/y", "/", "x=/y")])
async def test_an_absolute_target_without_a_path_means_the_root(
    serve: Callable[..., Awaitable[Wire]], target: bytes, path: str, query: str
) -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer(send, b"")

    connection = await (await serve(app)).connect()
    assert (await connection.ask(b"GET %b HTTP/1.1\r\n" % target + HOST + b"\r\n")).status == 200
    (scope,) = scopes
    assert (scope["path"], scope["query_string"].decode()) == (path, query)
    assert (b"host", b"other") in scope["headers"]


async def test_an_absolute_target_overrides_the_host(wire: Wire) -> None:
    connection = await wire.connect()
    found = await connection.ask(b"GET http://other:80/page HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (found.json["path"], found.json["headers"]["host"]) == ("/page", "other:80")
    found = await connection.ask(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (found.json["path"], found.json["headers"]["host"]) == ("*", "test")


async def test_http_1_0(wire: Wire) -> None:
    connection = await wire.connect()
    found = await connection.ask(b"GET /page HTTP/1.0\r\n" + HOST + b"\r\n")
    assert (found.status, found.headers["connection"]) == (200, "close")
    assert await connection.closed()


async def test_a_client_that_stays_after_a_refusal_is_cut_off(
    wire: Wire, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 0.01)
    connection = await wire.connect()
    await connection.ask(b"nonsense")
    await until(lambda: not wire.server.server_state.connections)


async def test_time_does_not_bring_a_second_refusal(wire: Wire, until: Until) -> None:
    connection = await wire.connect()
    await connection.ask(b"nonsense")
    wire.later(10)
    await until(lambda: not wire.server.server_state.connections)
    assert await connection.closed()
    assert wire.refused("timeout") == 0


async def test_no_one_waits_for_a_body_that_cannot_be_understood(
    wire: Wire, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_SECONDS", 3600)
    connection = await wire.connect()
    await connection.send(CHUNKED + b"1\r\na\r\n")
    await until(lambda: wire.server.server_state.tasks)
    check_refusal(await connection.ask(b"nonsense"), 400, "Bad Request")
    await until(lambda: not wire.server.server_state.tasks)
