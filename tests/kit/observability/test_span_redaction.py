import contextlib
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from keel.observability.redact import REDACTED
from keel.observability.span_redaction import RedactingExporter

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(memory: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(memory)))
    return provider.get_tracer("test", "1")


def test_no_secret_leaves(tracer: Tracer, memory: InMemorySpanExporter) -> None:
    with contextlib.suppress(ValueError), tracer.start_as_current_span(f"GET /{JWT}") as span:
        span.set_attributes(
            {
                "url.query": "plain=hunter2",
                "url.full": "https://x/?plain=hunter2",
                "url.path": f"/{JWT}",
                "http.request.header.authorization": ["Bearer hunter2"],
                "list": ["http://u:hunter2@h", "fine"],
                "numbers": [1, 2],
                "number": 1,
                "flag": True,
            }
        )
        raise ValueError("postgresql://u:hunter2@db")
    (exported,) = memory.get_finished_spans()
    text = exported.to_json()
    assert "hunter2" not in text
    assert JWT not in text
    assert exported.name == f"GET /{REDACTED}"
    assert dict(exported.attributes or {}) == {
        "url.query": REDACTED,
        "url.full": REDACTED,
        "url.path": f"/{REDACTED}",
        "http.request.header.authorization": REDACTED,
        "list": (f"http://{REDACTED}@h", "fine"),
        "numbers": (1, 2),
        "number": 1,
        "flag": True,
    }
    (event,) = exported.events
    assert (event.attributes or {})["exception.message"] == f"postgresql://{REDACTED}@db"
    assert exported.status.description == f"ValueError: postgresql://{REDACTED}@db"
    assert exported.status.status_code == StatusCode.ERROR


def test_all_else_stays(tracer: Tracer, memory: InMemorySpanExporter) -> None:
    with tracer.start_as_current_span("outer") as outer:
        link = Link(outer.get_span_context(), {"a": "b"})
        with tracer.start_as_current_span("inner", kind=SpanKind.CLIENT, links=[link]) as span:
            span.add_event("something", {"a": "b"})
            span.set_status(Status(StatusCode.OK))
    exported = memory.get_finished_spans()[0]
    assert isinstance(span, ReadableSpan)
    assert exported.to_json() == span.to_json()
    for name in ("context", "parent", "resource", "kind", "links", "start_time", "end_time", "instrumentation_scope"):
        assert getattr(exported, name) == getattr(span, name)


class Failing(InMemorySpanExporter):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[object] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls.append(len(spans))
        return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self.calls.append(timeout_millis)
        return False

    def shutdown(self) -> None:
        self.calls.append("shutdown")


def test_it_stands_for_the_exporter_behind_it() -> None:
    behind = Failing()
    exporter = RedactingExporter(behind)
    assert exporter.export([]) == SpanExportResult.FAILURE
    assert not exporter.force_flush(7)
    exporter.shutdown()
    assert behind.calls == [0, 7, "shutdown"]
