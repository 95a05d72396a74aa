"""The registry of all metrics, and the metrics of requests on the public port."""

import platform

from prometheus_client import CollectorRegistry, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from keel.observability.request_record import Told

# RFC 9110's methods and PATCH. A client may send any other token, which must not become a series of its own.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FAULTS = (500, 503)  # the error statuses of the service itself
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def create_registry(version: str) -> CollectorRegistry:
    """A registry with the metrics of the process, the platform and the garbage collector, and app_build_info."""
    # No query uses the _created series that each counter and histogram would have.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = {"version": version, "python": platform.python_version()}
    Info("app_build", "Version of this build, and Python's.", registry=registry).info(build)
    return registry


class RequestMetrics:
    """Rate, errors and duration of requests. The caller increments and decrements `in_flight`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Time from the first byte of a request's head to the last of its response.",
            ["method", "route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        # By label values: `labels()` costs more than all the rest here.
        self._children: dict[tuple[str, str, int], Histogram] = {}
        gauge = Gauge("http_requests_in_flight", "Requests being answered now.", registry=registry)
        gauge.set_function(lambda: self.in_flight)

    def expect(self, method: str, route: str) -> None:
        """Create the series of each error of a route before the first error.

        Prometheus's rate() and increase() need two points: without this, the first outage would not be counted.
        """
        for status in FAULTS:
            self._children[method, route, status] = self._duration.labels(method, route, status)

    def observe(self, record: Told) -> None:
        """Count a request that has ended."""
        method = record.scope["method"]
        key = (method if method in METHODS else "OTHER", record.route, record.status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._duration.labels(*key)
        trace = record.scope["state"].get("trace")
        if trace is not None and trace.sampled:
            child.observe(record.seconds, {"trace_id": trace.trace_id})
        else:
            child.observe(record.seconds)
