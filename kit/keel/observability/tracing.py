"""Traces for an OpenTelemetry collector (OTLP over HTTP), and the W3C trace context of a request.

Without a collector nothing is recorded, the SDK is not imported, and a caller's traceparent is only logged. Make spans
by OpenTelemetry's API, as in `opentelemetry.trace.get_tracer(__name__)`: the provider is the global one.
"""

import asyncio
import contextlib
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, NamedTuple

import structlog
from fastapi.telemetry import TelemetryConfig
from opentelemetry import propagate, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry
from starlette.types import Scope

from keel.compat.fastapi import TELEMETRY
from keel.observability import otel_variables
from keel.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger("keel.observability.tracing")

FLUSH_SECONDS = 2  # how long the exit waits for a collector that does not answer
MAX_VALUE_CHARACTERS = 1024
# https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(
    rb"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


class TraceIds(NamedTuple):
    """The ids of a trace, in hexadecimal. `span_id` is None if the service has no span of its own."""

    trace_id: str
    span_id: str | None
    sampled: bool


def is_on(settings: Settings) -> bool:
    """Whether traces are sent to a collector."""
    endpoint = settings.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return bool(endpoint) and otel_variables.traces_wanted(os.environ)


def telemetry(settings: Settings) -> TelemetryConfig:
    """FastAPI's own telemetry: a span for each request, and none for its inner steps.

    Its metrics and logs are off, because Prometheus has the metrics and logs go to stdout.
    """
    return {
        "tracing": is_on(settings),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": False,
    }


def ids(scope: Scope, traceparent: bytes | None) -> TraceIds | None:
    """The ids of the service's span, or else of the caller's traceparent; None if there is neither."""
    if TELEMETRY in scope:
        return current_ids()
    if traceparent is not None and (match := TRACEPARENT.fullmatch(traceparent)):
        return TraceIds(match[1].decode(), None, False)
    return None


def current_ids() -> TraceIds | None:
    """The ids of the current span, sampled or not; None if there is none."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return TraceIds(f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled)


def current_traceparent() -> str | None:
    """The current span as a traceparent header (W3C Trace Context), to store with work that goes on later."""
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


@contextlib.contextmanager
def span(name: str, traceparent: str | None) -> Iterator[None]:
    """A span while inside, in the trace of `traceparent` if there is one."""
    parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})
    with trace.get_tracer("keel").start_as_current_span(name, context=parent):
        yield


@contextlib.asynccontextmanager
async def exporting(settings: Settings, registry: CollectorRegistry) -> AsyncIterator[None]:
    """Send traces to the collector, if one is configured, while inside."""
    if not is_on(settings):
        yield
        return
    provider = create_provider(settings, registry)
    trace.set_tracer_provider(provider)  # works only once in a process
    if "OTEL_PROPAGATORS" not in os.environ:  # do not pass on a caller's baggage
        propagate.set_global_textmap(TraceContextTextMapPropagator())
    try:
        yield
    finally:
        await shut_down(provider)


def create_provider(settings: Settings, registry: CollectorRegistry) -> "TracerProvider":
    """A provider that exports in batches, from its own thread. The SDK's variables take precedence."""
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio  # noqa: PLC0415

    from keel.observability.span_losses import CollectorExporter  # noqa: PLC0415
    from keel.observability.span_redaction import RedactingExporter  # noqa: PLC0415

    resource = Resource.create(
        {
            "service.name": settings.service_name,
            "service.version": settings.product.version,
            "service.instance.id": socket.gethostname(),
            "deployment.environment.name": settings.environment,
        }
    )
    environ = os.environ
    provider = TracerProvider(
        resource=resource.merge(OTELResourceDetector().detect()),
        sampler=None if "OTEL_TRACES_SAMPLER" in environ else ParentBasedTraceIdRatio(settings.trace_sample_ratio),
        span_limits=SpanLimits(
            max_attribute_length=None if "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" in environ else MAX_VALUE_CHARACTERS
        ),
        shutdown_on_exit=False,  # that would wait for the collector without a limit
    )
    endpoint = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    exporter = RedactingExporter(CollectorExporter(endpoint, registry))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


async def shut_down(provider: "TracerProvider") -> None:
    """Send the remaining spans, for at most FLUSH_SECONDS."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def shut_down() -> None:
        provider.shutdown()
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(done.set)

    # A daemon thread: the interpreter would wait for a thread of the executor at its exit.
    threading.Thread(target=shut_down, name="tracing-shutdown", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await done.wait()
    except TimeoutError:
        log.warning("the collector does not answer: the last traces are lost", seconds=FLUSH_SECONDS)
