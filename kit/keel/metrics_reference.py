"""Prints a table of all metrics, which is in docs/metrics.md."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry

from keel.compat.prometheus_client import collectors, label_names

INTRODUCTION = """\
# Metrics

The metrics at `/metrics` of the management port. The series of a counter end in `_total`. A histogram has series that
end in `_bucket`, `_sum` and `_count`, and if the trace is sampled, an exemplar with its id. No label has a value that a
client chooses. prometheus_client adds its own metrics, `process_…` and `python_…`. If a trace collector is configured,
the counter `trace_spans_lost` has the spans that it did not accept, by `reason`. A service with WebSockets has the
gauge `websockets_open` by `route`, and the counters `websocket_messages` by `route` and `direction` (`received` or
`sent`) and `websockets_ended` by `route` and `code` (of the close; rare ones are `other`).

| metric | type | labels | |
|---|---|---|---|"""

# Settings that make every metric exist. Nothing is connected.
EVERYTHING: dict[str, Any] = {
    "environment": "local",
    "valkey_url": "valkey://127.0.0.1:6379/0",
    "jwks_url": "http://127.0.0.1:1/jwks.json",
    # Beside it the environment may set none of these.
    "jwks_file": None,
    "jwks_discovery": False,
    "faults_enabled": True,
}


# prometheus_client's own metrics, which differ between systems.
STANDARD = ("process_", "python_")


class Metric(NamedTuple):
    """A row of the table."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


def reference(registry: CollectorRegistry) -> str:
    """A Markdown document of all registered metrics, by name."""
    rows = (
        f"| `{m.name}` | {m.type} | {', '.join(f'`{label}`' for label in m.labels)} | {m.text} |"
        for m in sorted(set(_metrics(registry)))
        if not m.name.startswith(STANDARD)
    )
    return "\n".join([INTRODUCTION, *rows])


def _metrics(registry: CollectorRegistry) -> Iterator[Metric]:
    for collector in collectors(registry):
        own = label_names(collector)
        for family in collector.collect():
            labels = own or label_names(family)
            labels = labels or tuple(sorted({name for sample in family.samples for name in sample.labels} - {"le"}))
            yield Metric(family.name, family.type, labels, family.documentation)
