from typing import Any

from prometheus_client import CollectorRegistry


def collectors(registry: CollectorRegistry) -> set[Any]:
    """All that are registered, which a registry tells nobody."""
    return set(registry._collector_to_names)


def label_names(collector: Any) -> tuple[str, ...]:
    """Those of a metric, which one without children does not show; none for a collector of other kinds."""
    return tuple(getattr(collector, "_labelnames", ()))
