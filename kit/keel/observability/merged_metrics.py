"""One view of the metrics of several processes that do the same work.

Each process tells what is in its registry, and one of them adds it up. prometheus_client's own way, files that all
processes map, has neither functions as gauges nor the metrics of the process, and no exemplars.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from keel.compat.prometheus_client import gauge_modes

# How a gauge of several processes is one, as prometheus_client names it. What is not here, and whose author has said
# nothing either, stays apart by the label `worker`: whether 3 and 3 are 6 or 3 only the author knows.
MODES = {
    "dependency_up": "min",
    "event_loop_lag_max_seconds": "max",
    "http_connections": "sum",
    "http_connections_limit": "sum",
    "http_requests_in_flight": "sum",
    "process_max_fds": "min",
    "process_open_fds": "sum",
    "process_resident_memory_bytes": "sum",
    "process_start_time_seconds": "min",
    "process_virtual_memory_bytes": "sum",
    "python_info": "max",
    "serve_workers": "max",
    "streams_open": "sum",
    "websockets_open": "sum",
}
# Adding up what only grows is right; what is a fact of each process is the same in all.
SUMMED = ("counter", "histogram", "gaugehistogram", "summary")
FACTS = ("info", "stateset")
APART = "all"
WORKER = "worker"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], Sample]


def tell(registries: Sequence[CollectorRegistry]) -> bytes:
    """What the registries of this process have, as JSON. What the first one collects is told; the others know modes."""
    modes = {name: mode for registry in registries for name, mode in gauge_modes(registry).items()}
    families = [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "unit": family.unit,
            "mode": MODES.get(family.name) or modes.get(family.name, APART),
            "samples": [
                [each.name, each.labels, each.value, each.exemplar and [each.exemplar.labels, *each.exemplar[1:]]]
                for each in family.samples
            ],
        }
        for family in registries[0].collect()
    ]
    return json.dumps(families).encode()


class Merged(Collector):
    """What several processes have told, as one registry has it: `told` is by the name of the process."""

    def __init__(self, told: Mapping[str, bytes]) -> None:
        self._told = {worker: json.loads(text) for worker, text in told.items()}

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that it is not collected before it is asked for."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families in the order in which they were first told."""
        merged: dict[str, tuple[Metric, Samples]] = {}
        for worker, families in self._told.items():
            for family in families:
                name = family["name"]
                if name not in merged:
                    metric = Metric(name, family["help"], family["type"], family["unit"])
                    merged[name] = metric, {}
                _add(merged[name][1], family, worker)
        for metric, samples in merged.values():
            metric.samples = list(samples.values())
            yield metric


def _add(samples: Samples, family: Mapping[str, Any], worker: str) -> None:
    kind = family["type"]
    mode = "sum" if kind in SUMMED else "max" if kind in FACTS else family["mode"].removeprefix("live")
    apart = {WORKER: worker} if mode == APART else {}
    for name, its_labels, its_value, told in family["samples"]:
        labels, value = {**apart, **its_labels}, its_value
        exemplar = Exemplar(*told) if told else None
        key = name, tuple(sorted(labels.items()))
        before = samples.get(key)
        if before is not None:
            value = _one(mode, before.value, value)
            exemplar = max((each for each in (before.exemplar, exemplar) if each), key=_time, default=None)
        samples[key] = Sample(name, labels, value, None, exemplar)


def _one(mode: str, before: float, value: float) -> float:
    if mode == "min":
        return min(before, value)
    return max(before, value) if mode in ("max", "mostrecent") else before + value


def _time(exemplar: Exemplar) -> float:
    return float(exemplar.timestamp or 0)
