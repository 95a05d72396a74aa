"""What all dashboards have in common: variables, marks of what changed, links, and how panels are laid out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana import queries
from grafana.panels import BLUE, PROMETHEUS, PURPLE, Panel
from grafana.promql import REPLICASETS, REQUESTS, SERVICE

TAG = "fastapi-service"
OVERVIEW, DEPENDENCIES, RUNTIME = "fastapi-overview", "fastapi-dependencies", "fastapi-runtime"
TASKS = "fastapi-tasks"
COLUMNS = 24
# The chart puts `prometheusRule.runbookUrl` in its place.
RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True)
class Section:
    """Panels from left to right and then below; the first section of a dashboard has no title.

    What is collapsed asks nothing before someone opens it.
    """

    title: str
    panels: Sequence[Panel]
    collapsed: bool = False


def frame(
    uid: str,
    title: str,
    description: str,
    sections: Sequence[Section],
    *,
    requests: bool = False,
    workers: bool = False,
) -> build.Dashboard:
    """A dashboard. One with `requests` has routes to choose from, the logs' data source, and a search in them; one with
    `workers` has those to choose from."""
    built = (
        build.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
    )
    chosen = [*(_of_requests() if requests else []), *([_of_workers()] if workers else [])]
    for variable in [*_of_the_service(), *chosen, *_of_links()]:
        built = built.with_variable(variable)
    for mark in _marks():
        built = built.annotation(mark)
    for link in _links():
        built = built.link(link)
    number = 0
    for section in sections:
        if section.title:
            number += 1
            row = build.Row(section.title).id(number)
            if section.collapsed:  # such a row has its panels in it
                for panel in section.panels:
                    number += 1
                    row = row.with_panel(panel.id(number))
            built = built.with_row(row)
        if not section.collapsed:
            for panel in section.panels:
                number += 1
                built = built.with_panel(panel.id(number))
    return built


def _query(name: str, label: str, description: str, query: str) -> build.QueryVariable:
    return (
        build.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(PROMETHEUS)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


class Constant(build.ConstantVariable):
    """Hidden, as Grafana hides those that are made in it."""

    def build(self) -> model.VariableModel:
        variable = super().build()
        variable.hide = model.VariableHide.HIDE_VARIABLE
        return variable


def _data_source(name: str, label: str, kind: str) -> build.DatasourceVariable:
    return build.DatasourceVariable(name).label(label).description(f"Data source of type {kind}.").type(kind)


def _of_the_service() -> list[build.DatasourceVariable | build.QueryVariable]:
    # The targets of the chart's monitors, whatever their image; and all of a Prometheus without the operator.
    targets = 'up{endpoint=~"management|"'
    return [
        _data_source("datasource", "metrics", "prometheus"),
        _query("namespace", "namespace", "Where it runs.", f"label_values({targets}}}, namespace)"),
        _query("job", "service", "The Helm release.", f'label_values({targets}, namespace="$namespace"}}, job)'),
        # After which its pods are called, whatever monitors them.
        _query("deployment", "deployment", "Name of the Deployment.", f"label_values(up{{{SERVICE}}}, pod)")
        .regex("/^(.+)-[a-z0-9]+-[a-z0-9]{5}$/").hide(model.VariableHide.HIDE_VARIABLE),
    ]  # fmt: skip


def _of_workers() -> build.QueryVariable:
    found = _query(
        "worker",
        "worker",
        "Whose tasks and pods to show.",
        'label_values(kube_deployment_spec_replicas{namespace="$namespace", deployment=~"$deployment-.+"}, deployment)',
    )
    return _all_of(found.regex("/^$deployment-(.+)$/"), ".+")


def _all_of(variable: build.QueryVariable, pattern: str) -> build.QueryVariable:
    """One of which several can be chosen; all of them, by a regular expression, unless somebody chooses."""
    everything = model.VariableOption(selected=True, text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(pattern).current(everything)


def _of_requests() -> list[build.DatasourceVariable | build.QueryVariable | build.TextBoxVariable]:
    routes = _query(
        "route", "route", "Of which to show requests.", f"label_values({REQUESTS}_count{{{SERVICE}}}, route)"
    )
    search = build.TextBoxVariable("request_id").label("request or trace id").description("Part of a log line.")
    return [
        _all_of(routes, ".*"),
        _data_source("logs", "logs", queries.VICTORIALOGS),
        _data_source("loki", "logs in Loki", "loki"),
        search.default_value(""),
    ]


def _of_links() -> list[build.DatasourceVariable | build.ConstantVariable]:
    traces = _data_source("traces", "traces", "jaeger")
    return [traces, Constant("runbooks").label("runbooks").description("Address of the runbooks.").value(RUNBOOKS)]


class Annotation(model.AnnotationQuery):
    """One that Prometheus answers, with the fields for it that the SDK lacks."""

    title = ""
    value_is_time = False

    def to_json(self) -> dict[str, object]:
        about = {"titleFormat": self.title, "useValueForTime": "on" if self.value_is_time else False}
        return super().to_json() | about


@dataclass(frozen=True)
class Mark(Builder[model.AnnotationQuery]):
    """Where `expression` has a value; or at the times that its values are, in ms."""

    name: str
    color: str
    expression: str
    title: str
    value_is_time: bool

    def build(self) -> model.AnnotationQuery:
        built = Annotation(self.name, PROMETHEUS, icon_color=self.color, expr=self.expression)
        built.title, built.value_is_time = self.title, self.value_is_time
        return built


def _marks() -> list[Mark]:
    """What changed, and when."""
    version = f"count by (version) (app_build_info{{{SERVICE}}})"
    # For as long as it takes to be seen once: a version that was not there before.
    earlier = f"count by (version) (app_build_info{{{SERVICE}}} offset $__rate_interval)"
    created = f"1000 * max by (replicaset) (kube_replicaset_created{{{REPLICASETS}}})"
    return [
        Mark("New version", BLUE, f"{version} unless {earlier}", "version {{version}}", value_is_time=False),
        Mark("Rollout", PURPLE, created, "rollout of {{replicaset}}", value_is_time=True),
    ]


def _links() -> list[build.DashboardLink]:
    search = {"refId": "A", "queryType": "search"}
    panes = {"a": {"datasource": "${traces}", "queries": [search], "range": {"from": "now-1h", "to": "now"}}}
    traces = "/explore?schemaVersion=1&panes=" + quote(json.dumps(panes), safe="${}")
    return [
        _link("Dashboards", "").type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True).keep_time(True),
        _link("Alerts", "/alerting/list?search=Service").icon("bolt").tooltip("Grafana's list of alert rules"),
        _link("Traces", traces).icon("external link").tooltip("Search the traces"),
        _link("Runbooks", "${runbooks}/README.md")
        .icon("doc")
        .tooltip("What to do about each alert")
        .target_blank(True),
    ]


def _link(title: str, url: str) -> build.DashboardLink:
    return build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url).as_dropdown(False)
