"""Metrics of the caches. They are plain integers, because every request increments one; a scrape reads them."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

REQUESTS = {
    "local": ("hit", "miss", "wait"),  # wait: another request was already loading it
    "shared": ("hit", "stale", "miss", "changed", "corrupt", "unavailable"),
    "database": ("hit", "miss", "error"),
}
FILLS = ("stored", "refused", "late", "unavailable")
CHANGES = ("notified", "failed")


class CacheCounts:
    """The counts of one cache: local hits in `local_hits`, everything else by layer and result."""

    def __init__(self, entries: Callable[[], int]) -> None:
        self.entries = entries
        self.local_hits = 0
        self.requests = {(layer, result): 0 for layer, results in REQUESTS.items() for result in results}
        self.fills = dict.fromkeys(FILLS, 0)
        self.changes = dict.fromkeys(CHANGES, 0)


class CacheMetrics(Collector):
    """The counts of all caches, by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._caches: dict[str, CacheCounts] = {}
        registry.register(self)

    def of(self, name: str, entries: Callable[[], int]) -> CacheCounts:
        """The counts of the cache `name`; `entries` returns how many it has in memory."""
        return self._caches.setdefault(name, CacheCounts(entries))

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "cache_requests", "Lookups in the cache, by layer and result.", labels=["cache", "layer", "result"]
        )
        fills = CounterMetricFamily("cache_fills", "Answers written to Valkey, by result.", labels=["cache", "result"])
        changes = CounterMetricFamily(
            "cache_changes", "Changes of cached data, by whether Valkey was notified.", labels=["cache", "result"]
        )
        entries = GaugeMetricFamily("cache_entries", "Answers kept in memory.", labels=["cache"])
        for name, counts in self._caches.items():
            for (layer, result), number in (counts.requests | {("local", "hit"): counts.local_hits}).items():
                requests.add_metric([name, layer, result], number)
            for result, number in counts.fills.items():
                fills.add_metric([name, result], number)
            for result, number in counts.changes.items():
                changes.add_metric([name, result], number)
            entries.add_metric([name], counts.entries())
        yield from (requests, fills, changes, entries)
