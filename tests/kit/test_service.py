"""The application as it is put together."""

import socket
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httpx
import pytest
from prometheus_client import CollectorRegistry

from keel.data import migrate
from keel.security import dev_token
from keel.service import trusted_keys
from keel.settings import ConfigurationError
from tests.kit.subject import SERVICE, Settings
from tests.probe import __version__

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]


class PostgreSQL(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


async def test_who_answers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    expected = {"name": "probe", "version": __version__, "instance": socket.gethostname()}
    assert (answer.status_code, answer.json()) == (200, expected)
    assert (await client.head("/")).status_code == 200


@pytest.mark.parametrize("path", ["/redoc", "/openapi.json", "/api/v1/things/", "/api/v1"])
async def test_what_is_not_there(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, follow_redirects=False)).status_code == 404


async def test_without_a_database_a_request_is_a_problem(settings: Settings, unused_port: int) -> None:
    url = f"postgresql://things@127.0.0.1:{unused_port}/things"
    service = SERVICE.build(Settings(**settings.model_dump() | {"database_url": url}))
    transport = httpx.ASGITransport(service.public)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        answer = await client.get("/api/v1/things/page")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/")).status_code == 200


async def test_on_postgresql(postgresql_client: httpx.AsyncClient) -> None:
    made = await postgresql_client.post("/api/v1/things", json={"name": "page"})
    assert made.status_code == 201
    assert (await postgresql_client.get("/api/v1/things/page")).json() == made.json()
    assert (await postgresql_client.get("/api/v1/things/%00")).status_code == 422  # which PostgreSQL does not store


def test_locally_the_development_key_is_trusted(settings: Settings) -> None:
    local = settings.model_copy(update={"jwks_file": None})
    keys = trusted_keys(local, CollectorRegistry())
    assert not keys.current()
    key = dev_token.obtain_key(local.dev_key_file)
    assert [each.kid for each in keys.current()] == [key.kid]


def test_with_a_key_set_it_is_not(settings: Settings) -> None:
    key = dev_token.obtain_key(settings.dev_key_file)
    assert key.kid not in [each.kid for each in trusted_keys(settings, CollectorRegistry()).current()]


def test_a_key_set_must_be_there(settings: Settings) -> None:
    assert settings.jwks_file
    settings.jwks_file.write_text('{"keys": []}')
    with pytest.raises(ConfigurationError, match=r"APP_JWKS_FILE: .* holds no usable keys"):
        SERVICE.build(settings)


async def test_the_database_goes_away_and_comes_back(
    postgresql: PostgreSQL, postgresql_settings: Settings, until: Until
) -> None:
    await migrate.migrate(postgresql_settings)
    service = SERVICE.build(postgresql_settings.model_copy(update={"check_interval_seconds": 0.05}))
    service.health.started = True
    transport = httpx.ASGITransport(service.public)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        await until(lambda: service.health.readiness()["database"] == "ok")
        assert (await client.get("/api/v1/things/before")).status_code == 404
        postgresql.stop()
        try:
            await until(lambda: service.health.readiness()["database"] == "unreachable")
            assert (await client.get("/api/v1/things/meanwhile")).status_code == 503
        finally:
            postgresql.start()
        await until(lambda: service.health.readiness()["database"] == "ok")
        assert (await client.get("/api/v1/things/after")).status_code == 404


async def test_a_dead_identity_provider_does_not_keep_it_from_serving(
    settings: Settings, unused_port: int, mint: Callable[[], str], log_lines: object
) -> None:
    del log_lines
    await migrate.migrate(settings)
    url = f"http://127.0.0.1:{unused_port}/jwks.json"
    service = SERVICE.build(Settings(**settings.model_dump() | {"jwks_file": None, "jwks_url": url}))
    transport = httpx.ASGITransport(service.public)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url=settings.public_url) as client,
    ):
        headers = {"Authorization": f"Bearer {mint()}"}
        assert (await client.get("/api/v1/things/page", headers=headers)).status_code == 404
        refused = await client.post("/api/v1/things", json={"name": "page"}, headers=headers)
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["retry-after"]) <= settings.jwks_cooldown_seconds


async def test_too_many_requests_are_refused_logged_and_counted(
    settings: Settings, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    service = SERVICE.build(settings.model_copy(update={"rate_limit_address_per_minute": 2}))
    public, management = httpx.ASGITransport(service.public), httpx.ASGITransport(service.management)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=public, base_url=settings.public_url) as client,
        httpx.AsyncClient(transport=management, base_url="http://management") as metrics,
    ):
        answers = [await client.get("/") for _ in range(8)]
        assert [answer.status_code for answer in answers][-4:] == [429] * 4  # the minute may turn meanwhile
        assert answers[-1].headers["content-type"] == "application/problem+json"
        assert {"x-request-id", "retry-after", "x-content-type-options"} <= answers[-1].headers.keys()
        text = (await metrics.get("/metrics")).text
    assert 'rate_limited_total{kind="address"}' in text
    assert 'status="429"' in text
    assert "rate_limit_fallback 1.0" in text
    assert 429 in [line.get("http.response.status_code") for line in log_lines()]
