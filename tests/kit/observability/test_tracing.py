"""Traces, received as a collector receives them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.util._once import Once
from prometheus_client import CollectorRegistry

from keel.data import migrate
from keel.observability import tracing
from keel.service import Apps
from tests.kit.subject import SERVICE, Settings
from tests.probe import __version__
from tests.support.collector import Collector, attributes

Logs = Callable[[], list[dict[str, Any]]]

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def own_provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The provider can be set once in a process: each test gets a process of its own, as it were."""
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Apps, httpx.AsyncClient]]:
    service = SERVICE.build(settings)
    transport = httpx.ASGITransport(service.public, raise_app_exceptions=False)
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url=settings.public_url) as client,
    ):
        yield service, client


@pytest.fixture
async def traced(settings: Settings, collector: Collector, log_lines: Logs) -> Settings:
    del log_lines
    await migrate.migrate(settings)
    return settings.model_copy(update={"otlp_endpoint": collector.url + "/", "service_name": "things"})


@pytest.mark.anyio
async def test_a_request_is_a_span_of_the_caller_s_trace_with_the_database_s_below(
    traced: Settings, collector: Collector, mint: Callable[..., str]
) -> None:
    async with running(traced) as (_, client):
        authorization = {
            "Authorization": f"Bearer {mint(scope='things:read things:write')}",
            "Traceparent": SAMPLED,
            "Baggage": "a=b",
        }
        await client.get("/api/v1/things", headers=authorization)
    server = collector.spans["GET /api/v1/things"]
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, SPAN)
    assert server.kind == server.SPAN_KIND_SERVER
    assert attributes(server)["http.response.status_code"] == 200
    below = [span for span in collector.spans.values() if span.parent_span_id == server.span_id]
    assert "sqlite" in {attributes(span).get("db.system.name") for span in below}
    assert all(span.trace_id == server.trace_id for span in below)
    resource = collector.resource
    assert resource["service.name"] == "things"
    assert resource["service.version"] == __version__
    assert resource["service.instance.id"] == socket.gethostname()
    assert resource["deployment.environment.name"] == "local"


@pytest.mark.anyio
async def test_log_lines_and_exemplars_lead_to_the_span(
    traced: Settings, collector: Collector, log_lines: Logs
) -> None:
    async with running(traced) as (service, client):
        await client.get("/api/v1/things/unknown")
        management = httpx.ASGITransport(service.management)
        async with httpx.AsyncClient(transport=management, base_url="http://management") as scraper:
            scraped = await scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    span = collector.spans["GET /api/v1/things/{name}"]
    (line,) = (line for line in log_lines() if line["log.logger"] == "app.access")
    assert (line["trace.id"], line["span.id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert f'# {{trace_id="{span.trace_id.hex()}"}}' in scraped.text


@pytest.mark.anyio
async def test_lost_spans_are_counted_from_the_first_on(traced: Settings) -> None:
    async with running(traced) as (service, _):
        management = httpx.ASGITransport(service.management)
        async with httpx.AsyncClient(transport=management, base_url="http://management") as scraper:
            scraped = await scraper.get("/metrics")
    for reason in ("redirected", "rejected", "failed"):
        assert f'trace_spans_lost_total{{reason="{reason}"}} 0.0' in scraped.text


@pytest.mark.anyio
async def test_a_caller_s_decision_is_kept_and_no_exemplar_leads_nowhere(
    traced: Settings, collector: Collector, log_lines: Logs
) -> None:
    async with running(traced) as (service, client):
        await client.get("/api/v1/things/unknown", headers={"Traceparent": UNSAMPLED})
        management = httpx.ASGITransport(service.management)
        async with httpx.AsyncClient(transport=management, base_url="http://management") as scraper:
            scraped = await scraper.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert "GET /api/v1/things/{name}" not in collector.spans
    assert "trace_id=" not in scraped.text
    (line,) = (line for line in log_lines() if line["log.logger"] == "app.access")
    assert line["trace.id"] == TRACE


@pytest.mark.anyio
@pytest.mark.parametrize(("ratio", "recorded"), [(0.0, False), (1.0, True)])
async def test_the_share_that_is_recorded(traced: Settings, collector: Collector, ratio: float, recorded: bool) -> None:
    async with running(traced.model_copy(update={"trace_sample_ratio": ratio})) as (_, client):
        await client.get("/")
    assert ("GET /" in collector.spans) is recorded


@pytest.mark.anyio
async def test_an_error_on_demand_is_a_failed_span_of_its_route(traced: Settings, collector: Collector) -> None:
    async with running(traced.model_copy(update={"faults_enabled": True})) as (service, client):
        management = httpx.ASGITransport(service.management)
        async with httpx.AsyncClient(transport=management, base_url="http://management") as operator:
            await operator.put("/faults", json={"error_ratio": 1})
        await client.get("/api/v1/things/page")
        await client.get("/api/v1/things")
    for name in ("GET /api/v1/things/{name}", "GET /api/v1/things"):
        span = collector.spans[name]
        assert attributes(span)["http.response.status_code"] == 500
        assert span.status.code == span.status.STATUS_CODE_ERROR


@pytest.mark.anyio
async def test_no_secret_leaves(traced: Settings, collector: Collector) -> None:
    async with running(traced) as (service, client):

        async def fail() -> None:
            raise RuntimeError("postgresql://u:hunter2@db")

        service.public.add_api_route("/fail/now", fail)
        headers = {"Authorization": "Bearer hunter2hunter2", "Cookie": "session=hunter2"}
        await client.get(f"/a/{JWT}?plain=hunter2&access_token={JWT}", headers=headers)
        await client.get("/fail/now?plain=hunter2", headers=headers)
    sent = b"".join(request.SerializeToString() for request in collector.requests)
    assert b"hunter2" not in sent
    assert JWT.encode() not in sent
    assert attributes(collector.spans["GET"])["url.query"] == "[REDACTED]"
    failed = collector.spans["GET /fail/now"]
    assert attributes(failed)["http.response.status_code"] == 500
    assert failed.status.code == failed.status.STATUS_CODE_ERROR


@pytest.mark.anyio
async def test_no_value_is_endless(traced: Settings, collector: Collector) -> None:
    async with running(traced) as (_, client):
        await client.get(f"/a/{'x' * 5000}", headers={"User-Agent": "x" * 5000})
    assert max(len(str(value)) for value in attributes(collector.spans["GET"]).values()) == 1024


@pytest.mark.anyio
async def test_the_context_goes_on_to_whom_we_ask_and_baggage_does_not(traced: Settings) -> None:
    carrier: dict[str, str] = {}
    async with running(traced) as (service, client):

        async def ask() -> None:
            propagate.inject(carrier)

        service.public.add_api_route("/ask/now", ask)
        await client.get("/ask/now", headers={"Traceparent": SAMPLED, "Baggage": "secret=hunter2"})
    assert list(carrier) == ["traceparent"]
    assert carrier["traceparent"].startswith(f"00-{TRACE}-")
    assert SPAN not in carrier["traceparent"]


@pytest.mark.anyio
async def test_without_a_collector_nothing_is_recorded(settings: Settings, log_lines: Logs) -> None:
    await migrate.migrate(settings)
    async with running(settings) as (_, client):
        await client.get("/", headers={"Traceparent": SAMPLED})
        await client.get("/")
    lines = [line for line in log_lines() if line["log.logger"] == "app.access"]
    assert [line.get("trace.id") for line in lines] == [TRACE, None]
    assert not any("span.id" in line for line in lines)
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"


def test_the_sdk_s_variables_win(
    settings: Settings, collector: Collector, monkeypatch: pytest.MonkeyPatch, log_lines: Logs
) -> None:
    del log_lines
    assert not tracing.is_on(settings)
    for name, value in {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/v1/traces",
        "OTEL_SERVICE_NAME": "other",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=moon,team=a",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5",
    }.items():
        monkeypatch.setenv(name, value)
    assert tracing.is_on(settings)
    provider = tracing.create_provider(settings, CollectorRegistry())
    assert provider.sampler is ALWAYS_ON
    with provider.get_tracer("test").start_as_current_span("span") as span:
        span.set_attribute("long", "123456789")
    asyncio.run(tracing.shut_down(provider))
    assert collector.resource["service.name"] == "other"
    assert collector.resource["deployment.environment.name"] == "moon"
    assert collector.resource["team"] == "a"
    assert attributes(collector.spans["span"])["long"] == "12345"


@pytest.mark.anyio
async def test_other_propagators_can_be_chosen(traced: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PROPAGATORS", "tracecontext,baggage")
    before = propagate.get_global_textmap()
    async with tracing.exporting(traced, CollectorRegistry()):
        assert propagate.get_global_textmap() is before


class Process:
    """`python -m tests.probe`, as it is run."""

    def __init__(self, directory: Path, endpoint: str) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("APP_", "OTEL_"))},
            "APP_PORT": "0",
            "APP_MANAGEMENT_PORT": "0",
            "APP_DRAIN_DELAY_SECONDS": "0",
            "APP_LOG_FORMAT": "json",
            "APP_DATABASE_URL": f"sqlite:///{directory}/things.db",
            "APP_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "50",  # ms
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
            "OTEL_BSP_MAX_QUEUE_SIZE": "5",
        }
        self.log_file = directory / "log"
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.probe"], env=environment, stdout=log, stderr=log
            )
        while not any(line["message"] == "serving" for line in self.log):
            assert self.process.poll() is None, self.log_file.read_text()
            time.sleep(0.01)
        self.url = next(line["labels.public"] for line in self.log if line["message"] == "serving")

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def stop(self) -> tuple[int, float]:
        """Its exit code, and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - started


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    started = []

    def start(endpoint: str) -> Process:
        started.append(Process(tmp_path, endpoint))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.wait()


def test_the_last_spans_are_sent_at_the_end(start: Callable[[str], Process], collector: Collector) -> None:
    process = start(collector.url)
    assert httpx.get(f"{process.url}/", headers={"Traceparent": SAMPLED}).status_code == 200
    code, _ = process.stop()
    assert code == 0
    assert collector.spans["GET /"].parent_span_id.hex() == SPAN


@pytest.mark.parametrize("refused", [True, False])
def test_a_collector_that_is_away_harms_nothing(
    start: Callable[[str], Process], unused_port: int, refused: bool
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    port = unused_port if refused else silent.getsockname()[1]  # refused at once, or never answered
    process = start(f"http://127.0.0.1:{port}")
    with httpx.Client(base_url=process.url) as client:
        for _ in range(200):
            started = time.monotonic()
            assert client.get("/").status_code == 200
            assert time.monotonic() - started < 1
    code, seconds = process.stop()
    silent.close()
    assert code == 0
    assert seconds < tracing.FLUSH_SECONDS + 3
    complaints = [
        line["message"] for line in process.log if line["log.logger"].startswith(("opentelemetry", "urllib3"))
    ]
    assert len(complaints) <= 4
    assert process.log[-1]["message"] == "stopped"
    assert any(line["message"].startswith("the collector does not answer") for line in process.log)


@pytest.mark.anyio
async def test_a_collector_that_hangs_holds_up_the_exit_but_for_a_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, log_lines: Logs
) -> None:
    monkeypatch.setattr(tracing, "FLUSH_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        provider = tracing.create_provider(settings.model_copy(update={"otlp_endpoint": endpoint}), CollectorRegistry())
        with provider.get_tracer("test").start_as_current_span("span"):
            pass
        await tracing.shut_down(provider)
        (line,) = (line for line in log_lines() if line["log.logger"] == "keel.observability.tracing")
        assert line["log.level"] == "warning"
    for thread in threading.enumerate():
        if thread.name == "tracing-shutdown":
            thread.join()
