"""What the dashboards ask, with Grafana's variables filled in as Grafana would, to be run without Grafana."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# The type of its data source: the plug-in's name.
VICTORIALOGS = "victoriametrics-logs-datasource"

# As for the last hour with Prometheus scraping every 15 s: https://grafana.com/docs/grafana/latest/visualizations/
# dashboards/variables/add-template-variables/#global-variables
DEFAULTS = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "1h",
    "route": ".*",
    "worker": ".+",
    "request_id": "",
}
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}")
LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), (?P<label>\w+)\)")


@dataclass(frozen=True)
class Query:
    """One query of a panel. `source` is the type of its data source; `unit` is what the panel takes its values for."""

    dashboard: str
    panel: str
    ref: str
    expression: str
    source: str
    unit: str
    instant: bool
    absent: str  # what the panel says where there is nothing

    @property
    def where(self) -> str:
        return f"{self.dashboard}: {self.panel} {self.ref}"


def load(files: Iterable[Path]) -> list[Json]:
    """The dashboards in these files."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in files]


def panels(dashboard: Json) -> Iterator[Json]:
    """All panels but rows, which show nothing."""
    for panel in dashboard["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel


def queries(dashboard: Json, variables: Mapping[str, str]) -> list[Query]:
    """All queries of all panels. `variables` are at least namespace, job and deployment."""
    return [
        Query(
            dashboard["uid"],
            panel["title"],
            target["refId"],
            fill_in(target["expr"], variables),
            target["datasource"]["type"],
            _unit(panel, target["refId"]),
            target.get("instant", False),
            panel["fieldConfig"]["defaults"].get("noValue", ""),
        )
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def annotations(dashboard: Json, variables: Mapping[str, str]) -> dict[str, str]:
    """The marks of what changed, by name. Most of the time there are none."""
    return {each["name"]: fill_in(each["expr"], variables) for each in dashboard["annotations"]["list"]}


def choices(dashboard: Json, variables: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    """Of each variable that Prometheus fills: a selector of series, the label, and the expression that cuts it out."""
    found = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = LABEL_VALUES.fullmatch(variable["query"]["query"])
            if match is None:
                raise ValueError(f"variable {variable['name']}: {variable['query']['query']} is no label_values(…)")
            cut = fill_in(variable.get("regex", "").strip("/"), variables)
            found[variable["name"]] = (fill_in(match["selector"], variables), match["label"], cut)
    return found


def fill_in(expression: str, variables: Mapping[str, str]) -> str:
    """The expression without variables. Raises KeyError for one that is not known."""
    known = {**DEFAULTS, **variables}
    return VARIABLE.sub(lambda match: known[match[1] or match[2]], expression)


def _unit(panel: Json, ref: str) -> str:
    """Of a table that of the query's column, else the panel's."""
    unit: str = panel["fieldConfig"]["defaults"]["unit"]
    names: dict[str, str] = {}
    for step in panel.get("transformations", []):
        names |= step["options"].get("renameByName", {})
    column = names.get(f"Value #{ref}") or names.get("Value")
    for override in panel["fieldConfig"].get("overrides", []):
        if column and override["matcher"] == {"id": "byName", "options": column}:
            unit = next((each["value"] for each in override["properties"] if each["id"] == "unit"), unit)
    return unit
