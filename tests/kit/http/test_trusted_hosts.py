from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from keel.http.trusted_hosts import MAX_KNOWN, TrustedHostMiddleware, TrustedHosts
from keel.service import Apps
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio

Ask = Callable[..., Any]


async def ok(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def status(app: TrustedHostMiddleware, *hosts: bytes) -> int:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "headers": [(b"accept", b"*/*"), *((b"host", host) for host in hosts)]}
    await app(scope, receive, send)
    return int(sent[0]["status"])


def guard(settings: Settings, **changes: Any) -> TrustedHostMiddleware:
    return TrustedHostMiddleware(ok, TrustedHosts(settings.model_copy(update={"trusted_hosts": ""} | changes)))


@pytest.mark.parametrize(
    "host", [b"probe.example.com", b"probe.example.com:8443", b"PROBE.example.com", b"localhost:8000", b"[::1]:8000"]
)
async def test_our_names(settings: Settings, host: bytes) -> None:
    app = guard(settings)
    assert [await status(app, host) for _ in range(2)] == [200, 200]


@pytest.mark.parametrize(
    "host", [b"evil.example", b"probe.example.com.evil.example", b"evil-probe.example.com", b"[::2]"]
)
async def test_other_names(settings: Settings, host: bytes) -> None:
    app = guard(settings)
    assert [await status(app, host) for _ in range(2)] == [421, 421]


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"probe.example.com:x", b"probe.example.com/", b"a@probe.example.com", b"\xff", b"a,b"]
)
async def test_what_is_no_name(settings: Settings, host: bytes) -> None:
    for trusted in ("", "*"):
        assert await status(guard(settings, trusted_hosts=trusted), host) == 400


async def test_there_must_be_exactly_one(settings: Settings) -> None:
    app = guard(settings)
    assert await status(app, b"probe.example.com") == 200
    assert await status(app) == 400
    assert await status(app, b"probe.example.com", b"probe.example.com") == 400


async def test_localhost_only_locally(settings: Settings) -> None:
    deployed = guard(settings, environment="production")
    assert await status(deployed, b"probe.example.com") == 200
    assert await status(deployed, b"localhost") == 421
    assert await status(deployed, b"127.0.0.1:8000") == 421


async def test_trusted_besides(settings: Settings) -> None:
    app = guard(settings, trusted_hosts="other.example.com,*.example.org")
    names = [b"other.example.com", b"a.example.org", b"a.b.example.org:80", b"example.org", b"aexample.org"]
    assert [await status(app, name) for name in names] == [200, 200, 200, 421, 421]
    assert await status(guard(settings, trusted_hosts="*"), b"any.where") == 200


async def test_a_public_url_that_is_an_address(settings: Settings) -> None:
    app = guard(settings, public_url="http://[fd00::1]:8000", environment="production")
    assert await status(app, b"[fd00::1]:8000") == 200


async def test_what_is_remembered_is_bounded(settings: Settings) -> None:
    app = guard(settings)
    for port in range(MAX_KNOWN + 10):
        assert await status(app, b"localhost:%d" % port) == 200
    assert len(app.hosts._known) == MAX_KNOWN


async def test_other_scopes_pass(service: Apps, client: httpx.AsyncClient) -> None:
    """As the lifespan, without which there would be no service."""
    assert service.health.started
    answer = await client.get("/", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["content-type"]) == (421, "application/problem+json")
    assert answer.json()["title"] == "Misdirected Request"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
