import httpx
import pytest

from app.main import create_service
from app.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", ["/", "/unknown", "/no/route", "/api/openapi.json"])
async def test_every_answer_has_them(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["strict-transport-security"] == "max-age=63072000"
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert "server" not in headers


async def test_no_hsts_over_http(settings: Settings) -> None:
    plain = settings.model_copy(update={"public_url": "http://links.example.com"})
    transport = httpx.ASGITransport(create_service(plain).public)
    async with httpx.AsyncClient(transport=transport, base_url="http://links.example.com") as client:
        assert "strict-transport-security" not in (await client.get("/")).headers
