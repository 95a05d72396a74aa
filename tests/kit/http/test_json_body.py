from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from keel.http.json_body import JsonBodyMiddleware, is_json

pytestmark = pytest.mark.anyio

THINGS = "/api/v1/things"
JSON = {"Content-Type": "application/json"}


async def refusal(writer: httpx.AsyncClient, body: bytes, content_type: str = "application/json") -> str:
    answer = await writer.post(THINGS, content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["title"] == "Bad Request"
    return str(answer.json()["detail"])


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
async def test_not_json(writer: httpx.AsyncClient, content_type: str) -> None:
    assert await refusal(writer, b'{"name"', content_type) == "The body is not JSON: see character 7."


@pytest.mark.parametrize(
    "body", [b'{"name": "\xff"}', '{"name": "x"}'.encode("utf-16"), '{"name": "ä"}'.encode("latin-1")]
)
async def test_not_utf_8(writer: httpx.AsyncClient, body: bytes) -> None:
    assert (await refusal(writer, body)).startswith("The body is not JSON: it is not UTF-8")


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "page", "name": "other"}',
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b"[" * 20_000 + b"]" * 20_000,
        b'{"name": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
        b'{"name": ' + b"1" * 5_000 + b"}",
    ],
)
async def test_not_strict(writer: httpx.AsyncClient, body: bytes) -> None:
    detail = await refusal(writer, body)
    assert detail.startswith("The body is not I-JSON (RFC 7493): it names a member twice, contains NaN")
    assert "sys." not in detail


@pytest.mark.parametrize("body", [rb'{"name": "\ud800"}', rb'{"name": "page", "\ud800": 1}', b"null", b"1"])
async def test_json_that_is_no_thing(writer: httpx.AsyncClient, body: bytes) -> None:
    answer = await writer.post(THINGS, content=body, headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"]


async def test_a_body_in_pieces(writer: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in b'{"name": "page"}':
            yield bytes([number])

    assert (await writer.post(THINGS, content=pieces(), headers=JSON)).status_code == 201


def test_media_types() -> None:
    assert is_json("application/merge-patch+json")
    assert is_json("APPLICATION/JSON ;charset=utf-8")
    assert not is_json("text/plain")
    assert not is_json("")


async def test_a_client_that_leaves() -> None:
    """Before its body is whole, and after."""
    messages: list[Message] = [
        {"type": "http.request", "body": b"[", "more_body": True},
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"1]", "more_body": False},
        {"type": "http.disconnect"},
    ]
    got: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_message: Message) -> None:
        raise AssertionError

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        got.extend([await receive() for _ in range(3)])

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    await JsonBodyMiddleware(app)(scope, receive, send)
    assert got == [
        {"type": "http.disconnect"},
        {"type": "http.request", "body": b"[1]", "more_body": False},
        {"type": "http.disconnect"},
    ]
