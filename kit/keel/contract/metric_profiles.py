"""What an image may call its metrics: the chart's `metrics.profile`, with the names of its `_monitoring.tpl`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class MetricNames:
    """Of what the chart's rules are made of: a histogram of durations, and three of its labels."""

    histogram: str = "http_request_duration_seconds"
    status: str = "status"
    route: str = "route"
    method: str = "method"

    @property
    def bucket(self) -> str:
        return f"{self.histogram}_bucket"

    @property
    def labels(self) -> list[str]:
        return [self.method, self.route, self.status]

    def missing(self, series: Mapping[str, set[str]]) -> str:
        """What an image lacks of them, by the labels of each of its series; an empty text if it has all."""
        if self.bucket not in series:
            return f"no {self.bucket}"
        without = [label for label in self.labels if label not in series[self.bucket]]
        return f"{self.bucket} has no {', '.join(without)}" if without else ""


OWN, CUSTOM, INSTRUMENTATOR = "own", "custom", "instrumentator"
PROFILES = {
    OWN: MetricNames(),
    INSTRUMENTATOR: MetricNames(route="handler"),
    "otel": MetricNames(
        histogram="http_server_request_duration_seconds",
        status="http_response_status_code",
        route="http_route",
        method="http_request_method",
    ),
    "starlette_exporter": MetricNames(
        histogram="starlette_request_duration_seconds", status="status_code", route="path"
    ),
}
# A value in quotes may hold anything, and escapes quotes.
_LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')
_SERIES = re.compile(r'([a-zA-Z_:][\w:]*)\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\}')
# With its defaults its histogram has no status.
INSTRUMENTATOR_LINE = "Instrumentator().add(metrics.latency()).instrument(app).expose(app)"


def chosen(values: Mapping[str, Any]) -> tuple[str, MetricNames]:
    """The profile of the chart's values, and its names.

    Raises:
        ValueError: there is no such profile, or a custom one without the name of its histogram.
    """
    metrics = values.get("metrics") or {}
    profile = metrics.get("profile", OWN)
    if profile in PROFILES:
        return profile, PROFILES[profile]
    if profile != CUSTOM:
        raise ValueError(f"There is no metrics.profile {profile!r}: take one of {', '.join([*PROFILES, CUSTOM])}.")
    known = {field.name for field in fields(MetricNames)}
    names = {key: str(value) for key, value in (metrics.get("custom") or {}).items() if key in known}
    if not names.get("histogram"):
        raise ValueError("metrics.custom.histogram is missing: name the image's histogram of durations.")
    return CUSTOM, MetricNames(**names)


def labels_of(metrics: str) -> dict[str, set[str]]:
    """Those of each series, by its name, in Prometheus' text format (or OpenMetrics')."""
    found: dict[str, set[str]] = {}
    for line in metrics.splitlines():
        if match := _SERIES.match(line):
            found.setdefault(match[1], set()).update(_LABEL.findall(match[2]))
    return found


def recognized(series: Mapping[str, set[str]]) -> str:
    """The profile of the library that an image counts with, by the labels of each of its series; else an empty text."""
    return next((name for name, names in PROFILES.items() if names.route in series.get(names.bucket, ())), "")
