import re

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware

from app import __version__
from app.main import Service
from app.metrics import MetricsMiddleware

pytestmark = pytest.mark.anyio


async def series(management: httpx.AsyncClient, name: str) -> dict[tuple[str, ...], float]:
    """Values of a metric by its labels' values, in the order of their names."""
    found = {}
    for line in (await management.get("/metrics")).text.splitlines():
        if match := re.fullmatch(rf"{name}(?:\{{(.*)\}})? (\S+)", line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[1] or ""))
            found[tuple(labels[key] for key in sorted(labels))] = float(match[2])
    return found


COUNT = "http_request_duration_seconds_count"


async def test_counts_by_method_route_and_status(writer: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    await writer.post("/api/v1/links", json={"url": "https://example.com", "slug": "page"})
    await writer.post("/api/v1/links", json={})
    await writer.get("/page")
    await writer.head("/page")
    await writer.get("/other")
    await writer.get("/")
    await writer.delete("/page")
    await writer.get("/a/b/c")
    assert await series(management, COUNT) == {
        ("POST", "/api/v1/links", "201"): 1,
        ("POST", "/api/v1/links", "422"): 1,
        ("GET", "/{slug}", "307"): 1,
        ("HEAD", "/{slug}", "307"): 1,
        ("GET", "/{slug}", "404"): 1,
        ("GET", "/", "200"): 1,
        ("DELETE", "/{slug}", "405"): 1,
        ("GET", "unmatched", "404"): 1,
    }


async def test_no_client_can_make_series_without_end(client: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    for number in range(20):
        await client.get(f"/slug-{number}")
        await client.get(f"/deep/{number}/path?x={number}")
        await client.request(f"METHOD{number}", "/")
    assert set(await series(management, COUNT)) == {
        ("GET", "/{slug}", "404"),
        ("GET", "unmatched", "404"),
        ("OTHER", "/", "405"),
    }


async def test_requests_in_flight(service: Service, client: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    seen = []

    async def observe() -> None:
        seen.append(await series(management, "http_requests_in_flight"))

    service.public.add_api_route("/observe/now", observe)
    await client.get("/observe/now")
    assert seen == [{(): 1}]
    assert await series(management, "http_requests_in_flight") == {(): 0}


async def test_a_failure_is_counted_as_500(
    service: Service, client: httpx.AsyncClient, management: httpx.AsyncClient
) -> None:
    async def fail() -> None:
        raise RuntimeError

    service.public.add_api_route("/fail/now", fail)
    await client.get("/fail/now")
    assert await series(management, COUNT) == {("GET", "/fail/now", "500"): 1}


async def test_build_and_process(management: httpx.AsyncClient) -> None:
    assert await series(management, "app_build_info") == {(__version__,): 1}
    assert (await series(management, "process_resident_memory_bytes"))[()] > 0
    assert not re.search(r"_created[ {]", (await management.get("/metrics")).text)


async def test_the_route_is_the_whole_template_however_routers_are_nested() -> None:
    """FastAPI includes routers lazily, and its scope["route"] then lacks their prefixes."""
    inner, outer, registry = APIRouter(prefix="/inner"), APIRouter(), CollectorRegistry()

    @inner.get("/{item}")
    @inner.get("/twice/{item}")
    async def read(item: str) -> str:
        return item

    outer.include_router(inner, prefix="/v1")
    app = FastAPI(middleware=[Middleware(MetricsMiddleware, registry=registry)])
    app.include_router(outer, prefix="/api")
    app.include_router(inner, prefix="/again")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        for path in ("/api/v1/inner/7", "/api/v1/inner/twice/7", "/again/inner/7"):
            assert (await client.get(path)).status_code == 200
    (metric,) = (family for family in registry.collect() if family.type == "histogram")
    routes = {sample.labels["route"] for sample in metric.samples}
    assert routes == {"/api/v1/inner/{item}", "/api/v1/inner/twice/{item}", "/again/inner/{item}"}
