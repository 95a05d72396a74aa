"""Metrics of the database: duration of statements, wait for a connection, and the pool."""

from collections.abc import Iterator
from time import perf_counter
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, ExecutionContext
from sqlalchemy.pool import QueuePool

from keel.compat.sqlalchemy import max_connections
from keel.data.async_engine import AsyncEngine
from keel.dialects import Failure

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
KINDS = {"SELECT": "select", "INSERT": "insert", "UPDATE": "update", "DELETE": "delete"}
REASONS = ("pool_timeout", *Failure)


class DatabaseMetrics:
    """Measures the statements of an engine and its pool; the Database observes `wait` and counts `unavailable`."""

    def __init__(self, engine: AsyncEngine, registry: CollectorRegistry) -> None:
        duration = Histogram(
            "database_statement_duration_seconds",
            "Duration of statements, also of failed ones, by kind.",
            ["kind"],
            buckets=SECONDS,
            registry=registry,
        )
        self._duration = {kind: duration.labels(kind) for kind in (*KINDS.values(), "other")}
        self.wait = Histogram(
            "database_connection_wait_seconds",
            "Time to get a connection, from the pool or new.",
            buckets=SECONDS,
            registry=registry,
        )
        self.unavailable = Counter(
            "database_unavailable", "Times the database could not be used, by reason.", ["reason"], registry=registry
        )
        for reason in REASONS:
            self.unavailable.labels(reason)
        registry.register(_Pool(engine))
        event.listen(engine.sync_engine, "before_cursor_execute", self._begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._end)
        event.listen(engine.sync_engine, "handle_error", self._fail)

    def _begin(self, _connection: object, _cursor: object, *statement: Any) -> None:
        context: Any = statement[2]
        context.begun_at = perf_counter()

    def _end(self, _connection: object, _cursor: object, *statement: Any) -> None:
        self._observe(statement[2])

    def _fail(self, context: ExceptionContext) -> None:
        if context.execution_context is not None:
            self._observe(context.execution_context)

    def _observe(self, context: ExecutionContext) -> None:
        statement, begun_at = context.statement, getattr(context, "begun_at", None)
        if statement is not None and begun_at is not None:
            self._duration[KINDS.get(statement[:6].upper(), "other")].observe(perf_counter() - begun_at)


class _Pool(Collector):
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        pool = cast(QueuePool, self._engine.pool)  # dispose() replaces it
        connections = GaugeMetricFamily("database_pool_connections", "Open connections by state.", labels=["state"])
        connections.add_metric(["in_use"], pool.checkedout())
        connections.add_metric(["idle"], pool.checkedin())
        yield connections
        yield GaugeMetricFamily("database_pool_size", "Connections that are kept open.", pool.size())
        yield GaugeMetricFamily(
            "database_pool_limit", "Maximum number of connections, with the overflow.", max_connections(pool)
        )
