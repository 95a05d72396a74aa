"""Removes secrets from spans before they leave the process. Imported only if there is a collector."""

from collections.abc import Callable, Mapping, Sequence

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status
from opentelemetry.util.types import AttributeValue

from keel.observability import redact

Clean = Callable[[str], str]
# Attributes with a query, which may contain anything; the log leaves it out, too.
WITHHELD = frozenset({"url.query", "url.full", "http.target", "http.url"})


class RedactingExporter(SpanExporter):
    """Removes secrets from spans and passes them on. This is in the exporter's thread, so no request waits for it."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def redacted(span: ReadableSpan) -> ReadableSpan:
    """The span itself, or a copy without secrets if it has any."""
    attributes = _clean(span.attributes, redact.short_text)
    name = redact.short_text(span.name)
    if not span.events and not span.status.description and name == span.name and attributes == span.attributes:
        return span
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=[Event(event.name, _clean(event.attributes, redact.text), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, redact.text(span.status.description or "") or None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _clean(attributes: Mapping[str, AttributeValue] | None, clean: Clean) -> dict[str, AttributeValue]:
    return {name: _value(name, value, clean) for name, value in (attributes or {}).items()}


def _value(name: str, value: AttributeValue, clean: Clean) -> AttributeValue:
    if name in WITHHELD or redact.is_secret(name):
        return redact.REDACTED
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Sequence):
        return tuple(clean(item) if isinstance(item, str) else item for item in value)
    return value
