"""What panels are drawn from: whose service, when, and whom to ask."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from grafana import queries
from grafana.draw.colors import Palette
from grafana.draw.source import Prometheus, VictoriaLogs, Window

LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class View:
    """`service` are namespace, job and deployment; `runbooks` is where they can be read."""

    prometheus: Prometheus
    logs: VictoriaLogs | None
    window: Window
    service: Mapping[str, str]
    runbooks: str
    colors: Palette = field(default_factory=Palette)

    def fill_in(self, expression: str) -> str:
        return queries.fill_in(expression, {**self.service, **self.window.variables})


def named(legend: str, labels: Mapping[str, str]) -> str:
    """What a series is called: its legend, with its labels filled in."""
    return LABEL.sub(lambda match: labels.get(match[1], ""), legend).strip() or labels.get("__name__", "value")
