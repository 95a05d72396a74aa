"""Apps that count their requests by a library of others, as its own documents say: `python apps.py LIBRARY PORT`.

It runs in the environment of requirements/libraries.txt, and imports nothing of this repository.
"""

import sys
import time
from collections.abc import Awaitable, Callable

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from opentelemetry import metrics as telemetry
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from prometheus_client import Gauge, Histogram, make_asgi_app
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette_exporter import PrometheusMiddleware, handle_metrics


def instrumentator(app: FastAPI) -> None:
    """By its defaults."""
    Instrumentator().instrument(app).expose(app)


def instrumentator_latency(app: FastAPI) -> None:
    """With a histogram that has a status, and the gauge of requests in flight."""
    counting = Instrumentator(should_instrument_requests_inprogress=True)
    counting.add(metrics.latency()).instrument(app).expose(app)


def starlette_exporter(app: FastAPI) -> None:
    app.add_middleware(PrometheusMiddleware)
    app.add_route("/metrics", handle_metrics)


def opentelemetry(app: FastAPI) -> None:
    """By the stable conventions, where OTEL_SEMCONV_STABILITY_OPT_IN says so; to be scraped."""
    telemetry.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    FastAPIInstrumentor.instrument_app(app, excluded_urls="/metrics")
    app.mount("/metrics", make_asgi_app())


def opentelemetry_pushed(app: FastAPI) -> None:
    """Likewise, pushed by OTLP to a collector: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT says where that is."""
    telemetry.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    FastAPIInstrumentor.instrument_app(app, excluded_urls="/metrics")


def custom(app: FastAPI) -> None:
    """A histogram of one's own, in milliseconds, with labels of one's own, and a gauge of requests in flight."""
    labels, bounds = ("verb", "endpoint", "code"), (50, 100, 500, 1000)
    latency = Histogram("api_latency_milliseconds", "How long answers took.", labels, buckets=bounds)
    running = Gauge("api_requests_running", "Requests in flight.")

    @app.middleware("http")
    async def measure(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        code = 500
        try:
            with running.track_inprogress():
                answer = await call_next(request)
            code = answer.status_code
            return answer
        finally:
            took = 1000 * (time.perf_counter() - began)
            path = request.url.path
            endpoint = "/items/{item}" if path.startswith("/items/") else path
            latency.labels(request.method, endpoint, code).observe(took)

    app.mount("/metrics", make_asgi_app())


def process(app: FastAPI) -> None:
    """What a process says of itself, and nothing of requests."""
    app.mount("/metrics", make_asgi_app())


LIBRARIES = (
    *(instrumentator, instrumentator_latency, starlette_exporter, opentelemetry, opentelemetry_pushed),
    *(custom, process),
)


def make(library: str) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{item}")
    async def read(item: str) -> dict[str, str]:
        if item == "absent":
            raise HTTPException(404)
        if item == "broken":
            raise HTTPException(500)
        if item == "raises":
            raise RuntimeError(item)
        return {"item": item}

    {each.__name__: each for each in LIBRARIES}[library](app)
    return app


if __name__ == "__main__":
    uvicorn.run(make(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="critical")
