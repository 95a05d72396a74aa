from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio

ORIGIN = {"Origin": "https://app.example.com"}
PREFLIGHT = ORIGIN | {"Access-Control-Request-Method": "POST"}


@pytest.fixture
async def page(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that lets https://app.example.com in."""
    chosen = settings.model_copy(update={"cors_origins": "https://app.example.com"})
    transport = httpx.ASGITransport(SERVICE.build(chosen).public)
    async with httpx.AsyncClient(transport=transport, base_url="https://probe.example.com") as client:
        yield client


async def test_off_by_default(client: httpx.AsyncClient) -> None:
    answer = await client.get("/", headers=ORIGIN)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert (await client.options("/", headers=PREFLIGHT)).status_code == 405


async def test_an_origin_that_is_let_in(page: httpx.AsyncClient) -> None:
    answer = await page.get("/", headers=ORIGIN)
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-credentials" not in answer.headers


async def test_errors_can_be_read_too(page: httpx.AsyncClient) -> None:
    for answer in (await page.post("/api/v1/things", headers=ORIGIN), await page.get("/no/thing", headers=ORIGIN)):
        assert answer.status_code >= 400
        assert answer.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_preflight(page: httpx.AsyncClient) -> None:
    own, traces = "authorization, content-type, idempotency-key, if-match", "traceparent, tracestate, baggage"
    wish = {"Access-Control-Request-Headers": f"{own}, {traces}"}
    answer = await page.options("/api/v1/things", headers=PREFLIGHT | wish)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_headers_of_libraries_are_let_in_by_name(settings: Settings) -> None:
    """As Sentry's SDK and jQuery send them."""
    wish = PREFLIGHT | {"Access-Control-Request-Headers": "sentry-trace, x-requested-with"}
    headers = {"cors_origins": "https://app.example.com", "cors_headers": "sentry-trace, X-Requested-With"}
    transport = httpx.ASGITransport(SERVICE.build(settings.model_copy(update=headers)).public)
    async with httpx.AsyncClient(transport=transport, base_url="https://probe.example.com") as client:
        assert (await client.options("/api/v1/things", headers=wish)).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Access-Control-Request-Method": "TRACE"},
        {"Access-Control-Request-Headers": "x-other"},
    ],
)
async def test_preflight_refused(page: httpx.AsyncClient, change: dict[str, str]) -> None:
    answer = await page.options("/api/v1/things", headers=PREFLIGHT | change)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json()["detail"].startswith("Disallowed CORS ")
    assert "access-control-allow-origin" not in answer.headers


async def test_another_origin_gets_no_leave(page: httpx.AsyncClient) -> None:
    answer = await page.get("/", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_preflights_and_foreign_hosts_count_too(settings: Settings) -> None:
    """Nothing is exempt from the limit of an address (docs/decisions/0005-rate-limits.md)."""
    chosen = settings.model_copy(update={"cors_origins": ORIGIN["Origin"], "rate_limit_address_per_minute": 4})
    transport = httpx.ASGITransport(SERVICE.build(chosen).public)
    async with httpx.AsyncClient(transport=transport, base_url="https://probe.example.com") as client:
        answers = [await client.options("/api/v1/things", headers=PREFLIGHT) for _ in range(2)]
        answers += [await client.get("/", headers={"Host": "evil.example"}) for _ in range(3)]
        answers.append(await client.options("/api/v1/things", headers=PREFLIGHT))
    assert [answer.status_code for answer in answers] == [200, 200, 421, 421, 429, 429]
    assert answers[-1].headers["content-type"] == "application/problem+json"
