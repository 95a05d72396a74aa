"""What Grafana's dashboard-linter looks at, and more: https://github.com/grafana/dashboard-linter/tree/main/docs/rules"""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import dashboards, frame, queries
from grafana.queries import Json, Query
from tests.grafana import known
from tests.grafana.conftest import DASHBOARDS, LINKS, POD, of
from tests.grafana.prometheus import Prometheus
from tests.rules.rendered import groups, rules_of
from tests.support.processes import App

PANELS = [(dashboard, panel) for dashboard in DASHBOARDS for panel in queries.panels(dashboard)]
EVERY = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each["uid"])
EVERY_PANEL = pytest.mark.parametrize(
    "panel",
    [panel for _, panel in PANELS],
    ids=[f"{dashboard['uid']}: {panel['title']}" for dashboard, panel in PANELS],
)
UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
# What Kubernetes says of a release has no job.
OF_KUBERNETES = known.KUBE_STATE_METRICS | known.KUBELET


def asked(windows: dict[str, str] | None = None) -> list[Query]:
    """All queries for Prometheus, with these windows."""
    return of({**LINKS, **(windows or {})})


def nodes(tree: Any) -> Iterator[Json]:
    """All parts of a parsed expression."""
    if isinstance(tree, dict):
        if "type" in tree:
            yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)


def selectors(tree: Json) -> list[tuple[str, dict[str, str]]]:
    """Metric and matched labels of each selector."""
    found = []
    for node in nodes(tree):
        if node["type"] in ("vectorSelector", "matrixSelector"):
            matched = {each["name"]: each["value"] for each in node["matchers"]}
            found.append((matched.pop("__name__"), matched))
    return found


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Paths of what is not there any more, or is something else."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            below = f"{path}/{key}".removeprefix("/")
            if key in after:
                yield from lost(value, after[key], below)
            else:
                yield below
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}/{number}")
    elif before != after:
        yield path


def test_they_are_what_the_code_says() -> None:
    assert dashboards.stale() == []


def test_there_are_these() -> None:
    assert {each["uid"] for each in DASHBOARDS} == {
        *("fastapi-overview", "fastapi-dependencies", "fastapi-runtime", "fastapi-tasks", "links")
    }
    for path in dashboards.files():
        assert path.stat().st_size < 500_000  # a ConfigMap holds 1 MiB, and annotations of who applies it again as much


@EVERY
def test_it_is_of_grafanas_schema(dashboard: Json) -> None:
    """The SDK's types are made from Grafana's schema: what they do not know is lost on the way through them."""
    plugins.register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(dashboard), cls=JSONEncoder))
    assert {path for path in lost(dashboard, again) if not path.startswith("annotations/list/")} == set()
    # Which it does not know, and Grafana does: public/app/features/annotations of its source.
    fields = {path.rsplit("/", 1)[1] for path in lost(dashboard["annotations"], again["annotations"])}
    assert fields == {"titleFormat", "useValueForTime"}


@EVERY
def test_variables(dashboard: Json) -> None:
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert list(variables)[:3] == ["datasource", "namespace", "job"]
    assert {"traces", "runbooks", "deployment"} <= variables.keys()
    if dashboard["uid"] == "fastapi-overview":
        assert variables["route"]["multi"]
        assert variables["route"]["includeAll"]
        assert variables["logs"]["query"] == queries.VICTORIALOGS
        assert variables["loki"]["query"] == "loki"
    for variable in variables.values():
        assert variable["label"]
        assert variable["description"]
        if variable["type"] == "query":
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert variable["refresh"] == 2  # when the time range changes
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard))) - {"__rate_interval", "__range", "__value", "__all"}
    assert used == variables.keys()


@EVERY
def test_it_is_led_to_from_everywhere(dashboard: Json) -> None:
    assert frame.TAG in dashboard["tags"]
    links = {each["title"]: each for each in dashboard["links"]}
    others = links["Dashboards"]
    assert (others["type"], others["tags"], others["includeVars"], others["keepTime"]) == (
        *("dashboards", [frame.TAG], True, True),
    )
    panes = httpx.URL(links["Traces"]["url"].replace("${traces}", "abc")).params["panes"]
    assert json.loads(panes)["a"]["datasource"] == "abc"
    assert links["Runbooks"]["url"] == "${runbooks}/README.md"
    assert links["Alerts"]["url"].startswith("/alerting/")
    assert dashboard["title"]
    assert dashboard["description"]
    assert not dashboard["editable"]  # a change in Grafana would be lost


@EVERY
def test_ids_and_titles_are_unique(dashboard: Json) -> None:
    ids = [each["id"] for each in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in queries.panels(dashboard)]
    assert sorted(set(titles)) == sorted(titles)


@EVERY
def test_panels_lie_side_by_side_and_without_holes(dashboard: Json) -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        xs, ys = range(place.get("x", 0), place.get("x", 0) + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(xs, ys):
            assert cell not in cells, f"{panel['title']} lies on {cells[cell]}"
            cells[cell] = panel["title"]
    height = max(y for _, y in cells) + 1
    assert len(cells) == 24 * height


@EVERY_PANEL
def test_a_panel_says_what_it_shows(panel: Json) -> None:
    assert panel["title"]
    assert panel["targets"]
    shows, bad, do = panel["description"].split("\n\n")
    assert len(shows) > 10
    assert bad.removeprefix("**Bad:** ").endswith((".", ":"))
    assert do.removeprefix("**Do:** ").endswith(".")
    assert panel["datasource"]["uid"] in ("${datasource}", "${logs}", "${loki}")
    assert {json.dumps(target["datasource"]) for target in panel["targets"]} == {json.dumps(panel["datasource"])}
    assert panel["fieldConfig"]["defaults"]["noValue"]


@EVERY_PANEL
def test_a_panel_has_a_unit(panel: Json) -> None:
    used = {panel["fieldConfig"]["defaults"]["unit"]}
    for override in panel["fieldConfig"].get("overrides", []):
        used |= {each["value"] for each in override["properties"] if each["id"] == "unit"}
    assert used <= UNITS


@EVERY_PANEL
def test_a_graph_begins_at_zero_and_names_its_lines(panel: Json) -> None:
    if panel["type"] not in ("timeseries", "heatmap"):
        return
    assert all(target.get("legendFormat") for target in panel["targets"])
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"]
        assert panel["fieldConfig"]["defaults"].get("min") == 0 or panel["title"] in (
            *("Error budgets left", "Drain: time left"),  # overdrawn, they are below
        )


def test_the_top_row_is_large_numbers() -> None:
    for dashboard in DASHBOARDS:
        top = [panel for panel in queries.panels(dashboard) if panel["gridPos"]["y"] == 0]
        assert {panel["type"] for panel in top} == {"stat"}
        assert all(target["instant"] for panel in top for target in panel["targets"])  # else it shows what was


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("query", asked(), ids=lambda query: query.where)
def test_a_query_asks_for_this_service_alone(query: Query, prometheus: Prometheus) -> None:
    tree = prometheus.tree(query.expression)
    for metric, labels in selectors(tree):
        assert labels["namespace"] == "links", metric
        if metric in OF_KUBERNETES:
            names = ("deployment", "horizontalpodautoscaler", "replicaset", "pod", "cronjob", "job_name")
            assert sum("links" in labels.get(name, "") for name in names) == 1, metric
        else:
            assert labels["job"] in ("links", "links(-(.+))?"), metric


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    "query", asked({**LINKS, "__rate_interval": "7s", "__range": "70s"}), ids=lambda query: query.where
)
def test_windows_are_grafanas(query: Query, prometheus: Prometheus) -> None:
    """Rates over $__rate_interval, and increases over the time shown."""
    for node in nodes(prometheus.tree(query.expression)):
        if node["type"] == "call" and node["func"]["name"] in ("rate", "increase"):
            (window,) = [each["range"] for each in node["args"]]
            assert window == {"rate": 7000, "increase": 70000}[node["func"]["name"]]
        elif node["type"] == "call":
            assert not node["func"]["name"].endswith("_over_time"), "a window that is no one's"


@pytest.mark.usefixtures("idle")
def test_every_division_is_by_something(prometheus: Prometheus) -> None:
    """By a vector that is filtered to what is greater than 0, or by a count of what there is."""
    for query in asked():
        for node in nodes(prometheus.tree(query.expression)):
            if node["type"] == "binaryExpr" and node["op"] == "/":
                below = node["rhs"]
                while below["type"] == "parenExpr":
                    below = below["expr"]
                counted = below["type"] == "aggregation" and below["op"] == "count"
                assert counted or (below["type"] == "binaryExpr" and below["op"] == ">"), query.where


def test_every_metric_exists(busy: object, prometheus: Prometheus, service: App, worker: App) -> None:
    assert busy
    lines = [line for each in (service, worker) for line in each.text("/metrics").splitlines()]
    own = {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}
    recorded = {rule["record"] for rule in rules_of(groups()) if "record" in rule}
    others = known.ALERTS | OF_KUBERNETES | known.OPTIONAL | known.RELABELLED
    used = {metric for query in asked() for metric, _ in selectors(prometheus.tree(query.expression))}
    for dashboard in DASHBOARDS:
        expressions = [*queries.annotations(dashboard, LINKS).values()]
        expressions += [selector for selector, _, _ in queries.choices(dashboard, LINKS).values()]
        used |= {metric for each in expressions for metric, _ in selectors(prometheus.tree(each))}
    assert used - others <= own | recorded
    assert used >= OF_KUBERNETES | known.OPTIONAL  # no name is known for nothing


def test_logs_are_those_of_the_service_and_of_one_request() -> None:
    found = [query for dashboard in DASHBOARDS for query in queries.queries(dashboard, {**LINKS, "request_id": "0af7"})]
    (query,) = [query for query in found if query.source == "loki"]  # VictoriaLogs' is asked in test_logs.py
    selector, _, rest = query.expression.partition('"} |= ')
    namespace, pods = selector.split(', pod=~"')
    assert namespace == '{namespace="links"'
    assert rest.startswith('"0af7" | json')
    assert all(re.fullmatch(pods, pod) for pod in (POD, "links-migrations-x2k4q"))
    assert not re.fullmatch(pods, POD.replace("links-", "links-2-"))  # of another release


def test_what_is_not_a_variable_is_said() -> None:
    with pytest.raises(KeyError, match="nothing"):
        queries.fill_in("up{a='$nothing'}", LINKS)
    assert queries.fill_in("a[$__rate_interval] ${job:regex}", {**LINKS, "__rate_interval": "5m"}) == "a[5m] links"


def test_what_is_out_of_date_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards, "FOLDER", tmp_path / "dashboards")
    assert dashboards.stale() == sorted(dashboards.BUILT_IN)
    dashboards.write()
    assert dashboards.stale() == []
    (tmp_path / "dashboards" / "dependencies.json").write_text("{}")
    (tmp_path / "dashboards" / "former.json").write_text("{}")
    assert dashboards.stale() == ["dependencies.json", "former.json"]
    dashboards.write()
    assert dashboards.stale() == []


def test_what_a_domain_brings_is_built_by_the_code_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And left alone where there is none, as what Grafana has written."""
    *_, brought = dashboards.files()
    assert (brought.parent.name, brought.name) == ("dashboards", "links.json")
    assert dashboards.render(brought) == brought.read_text(encoding="utf-8")
    by_hand = tmp_path / "by-hand.json"
    by_hand.write_text("{}")
    monkeypatch.setattr(dashboards, "brought", lambda: [brought, by_hand])
    assert dashboards.stale() == []
    monkeypatch.setattr(dashboards, "render", lambda _: "{}")
    assert "links.json" in dashboards.stale()
