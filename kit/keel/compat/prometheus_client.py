from typing import Any

from prometheus_client import CollectorRegistry, Gauge


def collectors(registry: CollectorRegistry) -> set[Any]:
    """All collectors of a registry, which has no public way to list them."""
    return set(registry._collector_to_names)


def label_names(collector: Any) -> tuple[str, ...]:
    """The label names of a metric, also if it has no series yet; none for a collector of another kind."""
    return tuple(getattr(collector, "_labelnames", ()))


def gauge_modes(registry: CollectorRegistry) -> dict[str, str]:
    """The `multiprocess_mode` of each gauge, by name, which its author has chosen or left at "all"."""
    gauges = (each for each in collectors(registry) if isinstance(each, Gauge))
    return {gauge._name: gauge._multiprocess_mode for gauge in gauges}
