from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from keel.http.security_headers import SecurityHeadersMiddleware
from tests.kit.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio

# https://owasp.org/www-project-secure-headers/ (its headers_add.json of 2024), but for the headers
# that kit/keel/http/security_headers.py gives reasons to leave out; a tuple names what must be in the value.
OWASP: dict[str, tuple[str, ...]] = {
    "cache-control": ("no-store",),
    "content-security-policy": ("default-src 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    "cross-origin-opener-policy": ("same-origin",),
    "cross-origin-resource-policy": ("same-origin",),
    "permissions-policy": ("camera=()", "geolocation=()", "microphone=()"),
    "referrer-policy": ("no-referrer",),
    "strict-transport-security": ("max-age=63072000",),
    "x-content-type-options": ("nosniff",),
    "x-frame-options": ("DENY",),
}
# The same project's headers_remove.json, in part: what tells an attacker about us.
TELLTALE = {"server", "x-powered-by", "x-aspnet-version", "via", "x-runtime"}


@pytest.mark.parametrize("path", ["/", "/api/v1/things/unknown", "/no/route", "/api/v1/things", "/api/openapi.json"])
async def test_every_answer_has_them(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    for name, parts in OWASP.items():
        assert headers.get_list(name) == [headers[name]], f"{name} more than once"
        assert set(parts) <= set(headers[name].replace(", ", "; ").split("; ")), name
    assert TELLTALE.isdisjoint(headers)


async def test_no_hsts_over_http(settings: Settings) -> None:
    plain = settings.model_copy(update={"public_url": "http://probe.example.com"})
    transport = httpx.ASGITransport(SERVICE.build(plain).public)
    async with httpx.AsyncClient(transport=transport, base_url="http://probe.example.com") as client:
        assert "strict-transport-security" not in (await client.get("/")).headers


async def test_a_route_may_have_its_own() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"cache-control", b"max-age=60"), (b"x-other", b"y")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    await SecurityHeadersMiddleware(app, https=True)({"type": "http"}, receive, send)
    headers = sent[0]["headers"]
    assert [value for name, value in headers if name == b"cache-control"] == [b"max-age=60"]
    assert {name.decode() for name, _ in headers} == set(OWASP) | {"x-other"}
    assert len(headers) == len(OWASP) + 1
