import platform
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from starlette.types import Message, Receive, Scope, Send

from keel.http.request_recording import RequestRecordMiddleware
from keel.observability.metrics import METHODS, SECONDS, RequestMetrics
from keel.observability.tracing import TraceIds
from keel.service import Apps
from tests.probe import __version__
from tests.support.exposition import COUNT, series

pytestmark = pytest.mark.anyio


async def test_counts_by_method_route_and_status(writer: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    await writer.post("/api/v1/things", json={"name": "page"})
    await writer.post("/api/v1/things", json={})
    await writer.get("/api/v1/things/page")
    await writer.head("/api/v1/things/page")
    await writer.get("/api/v1/things/other")
    await writer.get("/")
    await writer.put("/api/v1/things/page")
    await writer.get("/a/b/c")
    assert await series(management, COUNT) == {
        ("POST", "/api/v1/things", "201"): 1,
        ("POST", "/api/v1/things", "422"): 1,
        ("GET", "/api/v1/things/{name}", "200"): 1,
        ("HEAD", "/api/v1/things/{name}", "200"): 1,
        ("GET", "/api/v1/things/{name}", "404"): 1,
        ("GET", "/", "200"): 1,
        ("PUT", "/api/v1/things/{name}", "405"): 1,
        ("GET", "unmatched", "404"): 1,
    }


async def test_each_error_of_a_route_is_there_before_it_has_been(management: httpx.AsyncClient) -> None:
    """Seen with Prometheus 3.5: of 120 errors between two scrapes none was counted, as their series began with them."""
    text = (await management.get("/metrics")).text
    routes = {"/": "GET", "/api/v1/slow": "GET", "/api/v1/failing": "GET", "unmatched": "GET POST"}
    routes |= {"/api/v1/things": "GET POST", "/api/v1/things/{name}": "GET DELETE"}
    for route, methods in routes.items():
        for method in methods.split():
            for status in ("500", "503"):
                assert f'{COUNT}{{method="{method}",route="{route}",status="{status}"}} 0.0' in text
    assert text.count(f"{COUNT}{{") == 2 * sum(len(methods.split()) for methods in routes.values())


async def test_no_client_can_make_series_without_end(service: Apps, management: httpx.AsyncClient) -> None:
    """10,000 requests, each with a method, a path, a host and headers that no one sent before."""
    before = len((await management.get("/metrics")).text.splitlines())

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message: Message) -> None:
        pass

    for number in range(10_000):
        path = ("/one-{0}", "/deep/{0}/path", "/api/v1/things/{0}", "/api/v1/{0}", "/\u2028{0}", "/")[number % 6]
        method = ("GET", "METHOD{0}", "DELETE", "get{0}", "PUT")[number % 5]
        host = ("probe.example.com", "host-{0}", "probe.example.com:{0}")[number % 3]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method.format(number),
            "scheme": "https",
            "path": path.format(number),
            "raw_path": path.format(number).encode(),
            "query_string": b"x=%d" % number,
            "root_path": "",
            "headers": [(b"host", host.format(number).encode()), (b"user-agent", b"%d" % number)],
            "client": (f"10.{number % 250}.{number // 250}.1", 1),
            "server": ("127.0.0.1", 8000),
            "state": {},
        }
        await service.public(scope, receive, send)
    counted = await series(management, COUNT)
    assert sum(counted.values()) == 10_000
    assert {method for method, _, _ in counted} <= METHODS | {"OTHER"}
    assert {route for _, route, _ in counted} <= {"/", "/api/v1/things/{name}", "unmatched"}
    assert len(counted) < 40
    after = len((await management.get("/metrics")).text.splitlines())
    assert after - before < 40 * (len(SECONDS) + 3) + 40


async def test_requests_in_flight(service: Apps, client: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    seen = []

    async def observe() -> None:
        seen.append(await series(management, "http_requests_in_flight"))

    service.public.add_api_route("/observe/now", observe)
    await client.get("/observe/now")
    assert seen == [{(): 1}]
    assert await series(management, "http_requests_in_flight") == {(): 0}


async def test_a_failure_is_counted_as_500(
    service: Apps, client: httpx.AsyncClient, management: httpx.AsyncClient
) -> None:
    async def fail() -> None:
        raise RuntimeError

    service.public.add_api_route("/fail/now", fail)
    await client.get("/fail/now")
    assert await series(management, COUNT) == {("GET", "/fail/now", "500"): 1}


async def test_build_and_process(management: httpx.AsyncClient) -> None:
    assert await series(management, "app_build_info") == {(platform.python_version(), __version__): 1}
    assert (await series(management, "process_resident_memory_bytes"))[()] > 0
    assert (await series(management, "event_loop_lag_max_seconds"))[()] >= 0
    assert not re.search(r"_created[ {]", (await management.get("/metrics")).text)


@pytest.mark.parametrize(
    ("trace", "exemplar"),
    [
        (TraceIds("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True), True),
        (TraceIds("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", False), False),
        (None, False),
    ],
)
async def test_an_exemplar_leads_to_a_trace_that_was_recorded(trace: TraceIds | None, exemplar: bool) -> None:
    registry = CollectorRegistry()

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        if trace:
            scope["state"]["trace"] = trace
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        pass

    scope: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": None}
    await RequestRecordMiddleware(app, RequestMetrics(registry))(scope, receive, send)
    text = openmetrics(registry).decode()  # type: ignore[no-untyped-call]
    found = re.findall(r'_bucket\{.*\} 1\.0 # \{trace_id="(.*?)"\} \S+ \S+', text)
    assert found == (["4bf92f3577b34da6a3ce929d0e0e4736"] if exemplar else [])
    assert b" # {" not in generate_latest(registry)  # the older format knows none
