import re

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from keel.observability import request_id, tracing
from keel.observability.request_id import RequestIdMiddleware

pytestmark = pytest.mark.anyio

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize("offered", ["0af76519-16cd-43dd", "a" * 128, "A.b_c~d-1"])
async def test_a_sane_id_is_kept(client: httpx.AsyncClient, offered: str) -> None:
    answer = await client.get("/", headers={"X-Request-ID": offered})
    assert answer.headers["x-request-id"] == offered


@pytest.mark.parametrize(
    "offered", ["short", "a" * 129, "has space", 'quote"quote', "slash/slash", "ümlaut-id", "", "newline-id\n"]
)
async def test_any_other_is_replaced(client: httpx.AsyncClient, offered: str) -> None:
    answer = await client.get("/", headers={b"X-Request-ID": offered.encode()})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_every_request_has_its_own(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


async def test_a_problem_tells_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/things/unknown")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


class Echo:
    """Notes what the middleware has put where."""

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        self.state = scope.get("state")
        self.current = request_id.current.get()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})


async def traced(*traceparents: bytes) -> tracing.TraceIds | None:
    echo = Echo()

    async def receive() -> Message:
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            (header,) = message["headers"]
            assert header[0] == b"x-request-id"

    headers = [(b"traceparent", value) for value in traceparents]
    await RequestIdMiddleware(echo)({"type": "http", "headers": headers}, receive, send)
    assert echo.state is not None
    assert echo.state is echo.current
    found: tracing.TraceIds | None = echo.state.get("trace")
    return found


@pytest.mark.parametrize(
    "traceparent", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings"]
)
async def test_the_caller_s_trace_is_noted(traceparent: str) -> None:
    assert await traced(traceparent.encode()) == tracing.TraceIds(TRACE, None, False)


@pytest.mark.parametrize(
    "traceparent",
    [
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}"),
        *(f"00-{TRACE.upper()}-{SPAN}-01", f"00-{TRACE}-{SPAN}-0g", f"0-{TRACE}-{SPAN}-01", f" 00-{TRACE}-{SPAN}-01"),
        *(f"00-{TRACE}-{SPAN}-01\n", f"00-{TRACE}-{SPAN}-01x", f"00-{TRACE}-{SPAN}-01-x", TRACE, "x" * 5000, ""),
    ],
)
async def test_one_that_is_malformed_is_not(traceparent: str) -> None:
    assert await traced(traceparent.encode()) is None


async def test_without_one_there_is_none() -> None:
    assert await traced() is None
