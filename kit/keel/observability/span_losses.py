"""Logs and counts spans that the collector has not accepted. Imported only if there is a collector.

OpenTelemetry's exporter takes each response below 400 for success and does not read it. It misses redirects, which it
does not follow, and responses that reject spans (findings/otlp-exporter-takes-refusals-for-success.sh).
"""

import logging
from collections.abc import Sequence
from typing import Any

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter

from keel.observability.collector_session import create_session
from keel.settings.masking import mask_url

# A standard library logger, so that a line that repeats with each batch is logged once a minute
# (keel.observability.logs).
log = logging.getLogger(__name__)

REASONS = ("redirected", "rejected", "failed")


class CollectorExporter(SpanExporter):
    """Sends spans to the collector at `endpoint`, and reads its responses."""

    def __init__(self, endpoint: str, registry: CollectorRegistry) -> None:
        self._endpoint = endpoint
        self._answer: requests.Response | None = None
        session = create_session()
        session.hooks["response"].append(self._keep)
        self._exporter = OTLPSpanExporter(endpoint=endpoint, session=session)
        self._lost = Counter(
            "trace_spans_lost",
            "Spans that the collector did not accept, by reason; without those that the full queue dropped.",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:
            self._lost.labels(reason)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._answer = None
        result = self._exporter.export(spans)
        answer = self._answer
        if result is not SpanExportResult.SUCCESS:  # the exporter has logged why
            self._lost.labels("failed").inc(len(spans))
            return result
        if answer is None:
            return result
        if answer.status_code >= 300:
            self._lost.labels("redirected").inc(len(spans))
            location = mask_url(answer.headers.get("Location", ""))
            details = {"status": answer.status_code, "location": location, "spans": len(spans)}
            log.warning("the collector redirects, so spans are lost: set the address it redirects to", extra=details)
            return SpanExportResult.FAILURE
        return self._read(answer)

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _keep(self, answer: requests.Response, **_options: Any) -> None:
        self._answer = answer

    def _read(self, answer: requests.Response) -> SpanExportResult:
        """The result of an export, by the body of the response. It is empty if all spans were accepted."""
        try:
            partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        except DecodeError:
            details = {"url": mask_url(self._endpoint), "media_type": answer.headers.get("Content-Type")}
            log.warning("the response is not OTLP: is this a collector?", extra=details)
            return SpanExportResult.SUCCESS
        if partial.rejected_spans > 0:
            self._lost.labels("rejected").inc(partial.rejected_spans)
            details = {"spans": partial.rejected_spans, "reason": partial.error_message}
            log.warning("the collector rejects spans: they are lost", extra=details)
            return SpanExportResult.FAILURE
        if partial.error_message:
            log.warning("the collector warns: %s", partial.error_message)
        return SpanExportResult.SUCCESS
