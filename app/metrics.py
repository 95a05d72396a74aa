"""RED metrics of the public port, and the registry everything is counted in."""

import time

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import __version__, routes

# RFC 9110's methods and PATCH; a client can send any other token, and would make a series of each.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def create_registry() -> CollectorRegistry:
    """A registry with the process, the platform, the garbage collector and app_build_info."""
    # No query uses the _created series, of which there is one beside each counter and histogram.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("app_build", "Version of this build.", registry=registry).info({"version": __version__})
    return registry


class MetricsMiddleware:
    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self.app = app
        self.duration = Histogram(
            "http_request_duration_seconds",
            "Time from the first byte of a request's head to the last of its response.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered now.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.in_flight.inc()
        try:
            await self.app(scope, receive, noting_status)
        finally:
            self.in_flight.dec()
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            elapsed = time.perf_counter() - started
            self.duration.labels(method, routes.template(scope), str(status)).observe(elapsed)
