"""Spans that the collector has not taken, by the real SDK and a collector that answers so."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from prometheus_client import CollectorRegistry

from keel.observability import tracing
from tests.kit.subject import Settings
from tests.support.collector import Collector

Logs = Callable[[], list[dict[str, Any]]]
Send = Callable[[int], None]

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def partly(rejected: int, message: str) -> tuple[int, dict[str, str], bytes]:
    """A collector's answer that this many spans were rejected."""
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    return 200, PROTOBUF, ExportTraceServiceResponse(partial_success=partial).SerializeToString()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def send(
    settings: Settings,
    collector: Collector,
    registry: CollectorRegistry,
    log_lines: Logs,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Send]:
    """Sends so many spans in one batch."""
    del log_lines
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    provider = tracing.create_provider(settings.model_copy(update={"otlp_endpoint": collector.url}), registry)
    tracer = provider.get_tracer("test")

    def send(spans: int) -> None:
        for number in range(spans):
            tracer.start_span(f"span {number}").end()
        provider.force_flush()

    yield send
    provider.shutdown()


def lost(registry: CollectorRegistry) -> dict[str, float | None]:
    return {
        reason: registry.get_sample_value("trace_spans_lost_total", {"reason": reason})
        for reason in ("redirected", "rejected", "failed")
    }


def test_all_taken(send: Send, registry: CollectorRegistry, log_lines: Logs) -> None:
    assert lost(registry) == {"redirected": 0, "rejected": 0, "failed": 0}
    send(3)
    assert lost(registry) == {"redirected": 0, "rejected": 0, "failed": 0}
    assert log_lines() == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect(
    send: Send, collector: Collector, registry: CollectorRegistry, log_lines: Logs, status: int
) -> None:
    collector.answer = (status, {"Location": "https://user:hunter2@collector.example.com/v1/traces"}, b"")
    send(3)
    send(2)
    assert len(collector.requests) == 2  # each sent once, and nothing sent to where it leads
    assert lost(registry) == {"redirected": 5, "rejected": 0, "failed": 0}
    (line,) = log_lines()
    assert line["message"] == "the collector redirects, so spans are lost: set the address it redirects to"
    assert line["log.level"] == "warning"
    assert line["labels.location"] == "https://[REDACTED]@collector.example.com/v1/traces"
    assert (line["labels.status"], line["labels.spans"]) == (status, 3)


def test_rejected_spans(send: Send, collector: Collector, registry: CollectorRegistry, log_lines: Logs) -> None:
    collector.answer = partly(2, "the tenant is over its limit")
    send(3)
    send(3)
    assert lost(registry) == {"redirected": 0, "rejected": 4, "failed": 0}
    (line,) = log_lines()
    assert (line["message"], line["log.level"]) == ("the collector rejects spans: they are lost", "warning")
    assert (line["event.reason"], line["labels.spans"]) == ("the tenant is over its limit", 2)


def test_a_warning_of_the_collector(
    send: Send, collector: Collector, registry: CollectorRegistry, log_lines: Logs
) -> None:
    collector.answer = partly(0, "use another address from March on")
    send(1)
    assert sum(filter(None, lost(registry).values())) == 0
    (line,) = log_lines()
    assert line["message"] == "the collector warns: use another address from March on"


def test_an_answer_of_no_collector(
    send: Send, collector: Collector, registry: CollectorRegistry, log_lines: Logs
) -> None:
    """Whether it has taken the spans nobody knows."""
    collector.answer = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Welcome</title>")
    send(1)
    assert sum(filter(None, lost(registry).values())) == 0
    (line,) = log_lines()
    assert line["message"] == "the response is not OTLP: is this a collector?"
    assert line["labels.media_type"] == "text/html"


def test_a_refusal(send: Send, collector: Collector, registry: CollectorRegistry, log_lines: Logs) -> None:
    collector.answer = (401, {}, b"")
    send(2)
    assert lost(registry) == {"redirected": 0, "rejected": 0, "failed": 2}
    (line,) = log_lines()
    assert line["log.level"] == "error"
    assert "code: 401" in line["message"]
