from collections.abc import Awaitable, Callable

import httpx
import pytest

from app.main import Service

pytestmark = pytest.mark.anyio


Until = Callable[[Callable[[], object]], Awaitable[None]]


def checked(service: Service) -> bool:
    return service.health.readiness()["database"] != "not checked yet"


async def test_a_healthy_service(service: Service, management: httpx.AsyncClient, until: Until) -> None:
    await until(lambda: checked(service))
    answer = await management.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "checks": {"startup": "ok", "drain": "ok", "database": "ok"}}
    for path in ("/startupz", "/livez"):
        answer = await management.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_starting(service: Service, management: httpx.AsyncClient) -> None:
    service.health.started = False
    for path in ("/startupz", "/readyz"):
        answer = await management.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        assert answer.json()["checks"]["startup"] == "still starting"
    assert (await management.get("/livez")).status_code == 200


async def test_draining(service: Service, management: httpx.AsyncClient, until: Until) -> None:
    await until(lambda: checked(service))
    service.health.draining = True
    answer = await management.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["drain"]) == (503, "draining")
    for path in ("/startupz", "/livez"):
        assert (await management.get(path)).status_code == 200


async def test_probes_may_be_asked_by_head(management: httpx.AsyncClient) -> None:
    assert (await management.head("/livez")).status_code == 200


async def test_metrics_in_both_formats(management: httpx.AsyncClient) -> None:
    plain = await management.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert not plain.text.endswith("# EOF\n")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    openmetrics = await management.get("/metrics", headers=accept)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/startupz", "/livez", "/readyz", "/metrics"])
async def test_nothing_of_it_is_public(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
