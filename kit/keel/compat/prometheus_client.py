from typing import Any

from prometheus_client import CollectorRegistry


def collectors(registry: CollectorRegistry) -> set[Any]:
    """All collectors of a registry, which has no public way to list them."""
    return set(registry._collector_to_names)


def label_names(collector: Any) -> tuple[str, ...]:
    """The label names of a metric, also if it has no series yet; none for a collector of another kind."""
    return tuple(getattr(collector, "_labelnames", ()))
