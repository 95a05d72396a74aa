"""WebSockets of a service: who may open one, its limits, and its end."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Message, Scope
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from keel.http.websocket_access import take_token_from_subprotocol
from keel.http.websockets import protocol
from tests.kit.streaming.conftest import Serve, Site

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
Mint = Callable[..., str]


def open_at(site: Site, path: str, **options: Any) -> connect:
    return connect(f"ws://{site.host}{path}", **options)


async def refused(site: Site, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """Status and problem details of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as raised:
        async with open_at(site, path, **options):
            pass
    response = raised.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    problem = json.loads(bytes(response.body or b""))
    assert problem["request_id"] == response.headers["x-request-id"]
    return response.status_code, problem


async def closed(websocket: ClientConnection) -> tuple[int, str]:
    """Code and reason of the server's close."""
    with pytest.raises(ConnectionClosed) as raised:
        async with asyncio.timeout(30):
            await websocket.recv()
    assert raised.value.rcvd
    return raised.value.rcvd.code, raised.value.rcvd.reason


def ends(site: Site, route: str) -> dict[str, float]:
    """How many WebSockets of a route have ended, by the label `code`."""
    return {
        sample.labels["code"]: sample.value
        for family in site.registry.collect()
        for sample in family.samples
        if sample.name == "websockets_ended_total" and sample.labels["route"] == route and sample.value
    }


def codes(site: Site, path: str) -> list[int]:
    """Those of the log."""
    return [line["labels.close_code"] for line in site.logged(f"GET {path} 101")]


async def test_a_conversation(serve: Serve, until: Until) -> None:
    site = await serve()
    async with open_at(site, "/echo/you") as websocket:
        for _ in range(3):
            await websocket.send("hello")
            assert await websocket.recv() == "you: hello"
        assert site.metric("websockets_open", route="/echo/{name}") == 1
    await until(lambda: site.logged("GET /echo/you 101"))
    (line,) = site.logged("GET /echo/you 101")
    assert (line["event.outcome"], line["http.route"]) == ("success", "/echo/{name}")
    assert (line["http.request.body.bytes"], line["http.response.body.bytes"]) == (15, 30)
    assert site.metric("websockets_open", route="/echo/{name}") == 0
    assert site.metric("websockets_ended_total", route="/echo/{name}", code="1012") == 0  # there before the first one
    assert (ends(site, "/echo/{name}"), line["labels.close_code"]) == ({"1000": 1}, 1000)
    for direction in ("received", "sent"):
        assert site.metric("websocket_messages_total", route="/echo/{name}", direction=direction) == 3
    handshake = {"method": "GET", "route": "/echo/{name}", "status": "101"}
    assert site.metric("http_request_duration_seconds_count", **handshake) == 1
    assert site.errors == []


async def test_requests_go_on_as_before(serve: Serve) -> None:
    site = await serve()
    assert (await site.client.get("/plain")).text == "plain"
    assert (await site.client.get("/echo/you")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/nowhere", 404, "There is nothing here."),
        ("/nobody", 403, "This WebSocket is refused."),
        ("/number?number=x", 422, "The request is not valid: see errors."),
        ("/secret", 401, "Send an access token: Authorization: Bearer <token>."),
    ],
)
async def test_what_is_refused(serve: Serve, path: str, status: int, detail: str) -> None:
    site = await serve()
    found, problem = await refused(site, path)
    assert (found, problem["detail"]) == (status, detail)
    assert site.logged(f"GET {path.partition('?')[0]} {status}")
    assert not any("labels.close_code" in line for line in site.log_lines())
    assert site.errors == []


async def test_a_token_in_the_header(serve: Serve, mint: Mint) -> None:
    site = await serve()
    async with open_at(site, "/secret", additional_headers={"Authorization": f"Bearer {mint()}"}) as websocket:
        assert await websocket.recv() == "alice"
    header = {"Authorization": f"Bearer {mint(scope='other')}"}
    status, problem = await refused(site, "/secret", additional_headers=header)
    assert (status, problem["detail"]) == (403, "The token lacks a scope: this needs news:read.")


async def test_a_token_as_a_subprotocol(serve: Serve, mint: Mint) -> None:
    """As browsers send it. The other one is chosen, as they give up without."""
    site = await serve()
    token = mint()
    async with open_at(site, "/secret", subprotocols=["news", f"bearer.{token}"]) as websocket:
        assert await websocket.recv() == "alice"
        assert websocket.subprotocol == "news"
        assert websocket.response
        assert token not in str(websocket.response.headers)
    async with open_at(site, "/secret", subprotocols=[f"bearer.{token}"]) as websocket:
        assert await websocket.recv() == "alice"
        assert websocket.subprotocol is None
    async with open_at(site, "/echo/you", subprotocols=["other", "echo", f"bearer.{token}"]) as websocket:
        assert websocket.subprotocol == "echo"  # the route's choice
    for wrong, status in (("bearer.x", 401), (f"bearer.{mint(exp=1)}", 401), (f"bearer.{mint(scope='other')}", 403)):
        assert (await refused(site, "/secret", subprotocols=["news", wrong]))[0] == status
    both = {"additional_headers": {"Authorization": f"Bearer {token}"}, "subprotocols": [f"bearer.{token}"]}
    assert (await refused(site, "/secret", **both))[0] == 400


def test_nothing_sees_the_token_as_a_subprotocol() -> None:
    offered = (b"sec-websocket-protocol", b"news, bearer.secret")
    scope: Scope = {"subprotocols": ["news", "bearer.secret"], "headers": [(b"host", b"a"), offered]}
    assert take_token_from_subprotocol(scope)
    assert scope["subprotocols"] == ["news"]
    assert scope["headers"] == [
        (b"host", b"a"),
        (b"sec-websocket-protocol", b"news"),
        (b"authorization", b"Bearer secret"),
    ]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://news.example.com.evil"]
)
async def test_pages_of_others_are_refused(serve: Serve, origin: str) -> None:
    site = await serve(cors_origins="https://app.example.com")
    assert (await refused(site, "/echo/you", origin=origin))[0] == 403


async def test_our_own_pages_and_those_that_may_call_the_api(serve: Serve) -> None:
    site = await serve(cors_origins="https://app.example.com", public_url="https://news.example.com")
    for origin in (
        "https://app.example.com",
        f"http://{site.host}",
        f"https://{site.host}",
        "https://news.example.com",
    ):
        async with open_at(site, "/echo/you", origin=origin):
            pass
    forwarded = {"X-Forwarded-Proto": "https"}  # a page without TLS may not use what has TLS
    options: dict[str, Any] = {"origin": f"http://{site.host}", "additional_headers": forwarded}
    assert (await refused(site, "/echo/you", **options))[0] == 403


async def test_any_page_where_that_is_configured(serve: Serve) -> None:
    site = await serve(cors_origins="*")
    async with open_at(site, "/echo/you", origin="https://any.example"):
        pass


async def test_other_hosts(serve: Serve) -> None:
    site = await serve()
    with pytest.raises(InvalidStatus) as raised:
        async with connect("ws://evil.example/echo/you", host="127.0.0.1", port=int(site.host.partition(":")[2])):
            pass
    assert raised.value.response.status_code == 421


async def test_handshakes_count_for_the_rate_limit(serve: Serve) -> None:
    site = await serve(rate_limit_address_per_minute=2)
    for _ in range(2):
        async with open_at(site, "/echo/you"):
            pass
    status, problem = await refused(site, "/echo/you")
    assert (status, problem["title"]) == (429, "Too Many Requests")


async def test_there_is_a_limit_of_their_own(serve: Serve, until: Until) -> None:
    site = await serve(max_websockets=1)
    async with open_at(site, "/echo/you"):
        status, problem = await refused(site, "/echo/you")
        assert (status, problem["detail"]) == (503, "The service is at its limit of WebSockets. Try again soon.")
    await until(lambda: site.metric("websockets_open", route="/echo/{name}") == 0)
    async with open_at(site, "/echo/you"):
        pass


async def test_a_message_that_is_too_large(serve: Serve, until: Until) -> None:
    """Others notice nothing. What counts is the size when it is not compressed."""
    site = await serve()
    async with open_at(site, "/echo/you") as other, open_at(site, "/echo/you", compression=None) as websocket:
        await websocket.send("x" * 65537)
        assert (await closed(websocket))[0] == 1009
        await other.send("x" * 65536)
        assert len(await other.recv()) == 65536 + len("you: ")
    async with open_at(site, "/echo/you") as compressed:
        await compressed.send("x" * 10_000_000)
        assert (await closed(compressed))[0] == 1009
    await until(lambda: ends(site, "/echo/{name}") == {"1009": 2, "1000": 1})
    assert sorted(codes(site, "/echo/you")) == [1000, 1009, 1009]
    assert site.errors == []


async def test_who_sends_all_before_reading_learns_why_too(serve: Serve) -> None:
    """A connection that is closed with unread bytes would be reset, and the reason lost."""
    site = await serve()
    host, _, port = site.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
    offer = f"Host: {site.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}"
    writer.write(f"GET /echo/you HTTP/1.1\r\n{offer}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    size = 10_000_000
    writer.write(b"\x81\xff" + size.to_bytes(8) + bytes(4))  # RFC 6455, section 5.2: text, masked with zeros
    for _ in range(10):
        writer.write(b"x" * (size // 10))
        await writer.drain()
    frame = await reader.read()
    assert (frame[0], int.from_bytes(frame[2:4])) == (0x88, 1009)
    writer.close()


async def test_one_that_is_idle(serve: Serve, until: Until) -> None:
    site = await serve(websocket_idle_seconds=0.4)
    async with open_at(site, "/echo/you") as websocket:
        for _ in range(3):  # each message gives it the whole time again
            await asyncio.sleep(0.2)
            await websocket.send("hello")
            await websocket.recv()
        assert await closed(websocket) == (1001, "There was no message for 0.4 seconds.")
    await until(lambda: codes(site, "/echo/you") == [1001])
    assert ends(site, "/echo/{name}") == {"1001": 1}
    assert site.errors == []


async def test_a_handler_that_does_not_answer(serve: Serve) -> None:
    site = await serve(request_timeout_seconds=0.2)
    status, problem = await refused(site, "/late")
    assert (status, problem["detail"]) == (503, "The handshake took longer than 0.2 seconds. Try again soon.")


async def test_a_handler_that_breaks(serve: Serve, until: Until) -> None:
    site = await serve()
    async with open_at(site, "/echo/you") as websocket:
        await websocket.send("break")
        code, reason = await closed(websocket)
        assert code == 1011
        assert "hunter2" not in reason
    (line,) = site.logged("websocket failed")
    assert line["error.message"] == "hunter2"
    await until(lambda: site.logged("GET /echo/you 101"))
    assert site.logged("GET /echo/you 101")[0]["event.outcome"] == "failure"
    assert (ends(site, "/echo/{name}"), codes(site, "/echo/you")) == ({"1011": 1}, [1011])


@pytest.mark.parametrize(("path", "code", "reason"), [("/problem/409", 1008, "No."), ("/problem/500", 1011, "No.")])
async def test_a_problem_after_the_handshake(serve: Serve, path: str, code: int, reason: str) -> None:
    site = await serve()
    async with open_at(site, path) as websocket:
        assert await closed(websocket) == (code, reason)


async def test_a_refusal_of_the_routes_own(serve: Serve) -> None:
    site = await serve()
    status, problem = await refused(site, "/denied")
    assert (status, problem["detail"]) == (402, "Payment Required")


async def test_a_code_of_the_routes_own(serve: Serve, until: Until) -> None:
    """It is in the log. No client may make series of the metrics."""
    site = await serve()
    async with open_at(site, "/bye") as websocket:
        assert await closed(websocket) == (4000, "bye")
    await until(lambda: codes(site, "/bye") == [4000])
    assert ends(site, "/bye") == {"other": 1}
    websocket = await open_at(site, "/echo/you")
    await websocket.close(4001)
    await until(lambda: codes(site, "/echo/you") == [4001])
    assert ends(site, "/echo/{name}") == {"other": 1}


async def test_a_response_of_the_routes_own(serve: Serve) -> None:
    site = await serve()
    with pytest.raises(InvalidStatus) as raised:
        async with open_at(site, "/own"):
            pass
    assert (raised.value.response.status_code, raised.value.response.body) == (410, b"gone")
    assert site.errors == []


async def test_a_handler_that_does_not_listen_ends_with_its_client(serve: Serve, until: Until) -> None:
    site = await serve()
    async with open_at(site, "/watch") as websocket:
        await until(lambda: site.metric("feed_subscribers", feed="news") == 1)
        await site.client.post("/feed?data=first")
        assert await websocket.recv() == "first"
    await until(lambda: site.metric("feed_subscribers", feed="news") == 0)
    await until(lambda: codes(site, "/watch") == [1000])
    assert site.errors == []


async def test_one_that_talks_to_who_has_gone(serve: Serve, until: Until) -> None:
    site = await serve()
    async with open_at(site, "/talk") as websocket:
        await websocket.recv()
    await until(lambda: codes(site, "/talk") == [1000])
    assert site.errors == []


async def test_without_the_extension_a_refusal_is_a_403(serve: Serve) -> None:
    """As of a server that can only close."""
    site = await serve()
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "websocket",
        "path": "/nowhere",
        "scheme": "ws",
        "headers": [(b"host", b"127.0.0.1")],
        "subprotocols": [],
        "state": {},
    }
    await site.apps.public(scope, receive, send)
    assert sent == [{"type": "websocket.close"}]


@pytest.mark.parametrize("drain", [1, 6, 8, 30, 300])
def test_all_ends_before_the_drain_does(drain: float) -> None:
    """Even that of a handler which does not notice, whose client was the last to be told and does not answer."""
    chosen = protocol(drain / 2)
    assert chosen
    assert 0 < chosen.spread + chosen.linger + chosen.notice < drain
