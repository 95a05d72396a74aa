"""Every query of every panel, asked of a real Prometheus."""

import re

import pytest

from grafana import queries
from grafana.panels import NOT_SCRAPED
from tests.grafana.conftest import DASHBOARDS, GONE, LINKS, OTHER, POD, WORKER, Answer, of
from tests.grafana.prometheus import Prometheus, wrong
from tests.support.processes import until


def bad(answers: list[Answer]) -> list[str]:
    return [f"{each.query.where}: {each.wrong}" for each in answers if each.wrong]


def empty(answers: list[Answer]) -> list[str]:
    return [each.query.where for each in answers if not each.series]


def one(answers: list[Answer], panel: str, ref: str = "A") -> Answer:
    (found,) = [each for each in answers if (each.query.panel, each.query.ref) == (panel, ref)]
    return found


def test_no_panel_is_empty_while_the_service_is_idle(idle: list[Answer]) -> None:
    assert not empty(idle)
    assert not bad(idle)


def test_no_panel_is_empty_while_the_service_is_in_use(busy: list[Answer]) -> None:
    assert not empty(busy)
    assert not bad(busy)


def test_no_panel_is_empty_when_the_service_is_idle_again(quiet: list[Answer]) -> None:
    assert not empty(quiet)
    assert not bad(quiet)
    for panel in ("Failing requests", "Slowest 1 %", "Requests", "Led nowhere"):
        assert one(quiet, panel).values == [0], panel
    assert one(quiet, "Links made").values[0] > 0  # in the time shown


@pytest.mark.usefixtures("quiet")
def test_no_line_is_broken_by_what_is_no_number(prometheus: Prometheus) -> None:
    now = prometheus.values("vector(time())")[0]
    for query in of(LINKS):
        if not query.instant:
            window = {"start": str(now - 30), "end": str(now), "step": "1"}
            lines = prometheus.get("query_range", query=query.expression, **window)["result"]
            assert lines, query.where
            values = [float(value) for line in lines for _, value in line["values"]]
            assert not wrong(values, query), query.where


def test_an_idle_service_looks_healthy(idle: list[Answer]) -> None:
    for panel in ("Alerts firing", "Failing requests", "Slowest 1 %", "Pods missing", "Cache misses", "Restarts"):
        assert one(idle, panel).values == [0], panel
    assert one(idle, "Pods ready").values == one(idle, "Pods of the newest version").values == [1]
    assert [each["metric"] for each in one(idle, "Firing alerts").series] == [{"alertname": "README"}]
    assert one(idle, "Error budget left").values == [1]
    assert one(idle, "Requests are judged").values == [0]
    assert one(idle, "Error budgets left").values == [1, 1]


def test_a_service_in_use_is_seen(busy: list[Answer]) -> None:
    """Where it showed zero before, or none."""
    assert one(busy, "Requests are judged").values == [1]
    for panel in ("Requests", "Failing requests", "Slowest 1 %", "Links made", "Links followed", "Led nowhere"):
        assert one(busy, panel).values[0] > 0, panel
    assert {"/{slug}", "/api/v1/links"} <= {each["metric"]["route"] for each in one(busy, "Requests by route").series}
    assert {"307", "404", "500"} <= {each["metric"]["status"] for each in one(busy, "Answers by status").series}
    assert one(busy, "Top errors").series[0]["metric"] == {"route": "/{slug}", "method": "GET", "status": "500"}
    assert "+Inf" in {each["metric"]["le"] for each in one(busy, "Answer times").series}


def test_dots_in_the_heat_map_lead_to_a_trace(busy: list[Answer], prometheus: Prometheus) -> None:
    expression = one(busy, "Answer times").query.expression

    def traces() -> set[str]:
        now = prometheus.values("vector(time())")[0]
        found = prometheus.get("query_exemplars", query=expression, start=str(now - 60), end=str(now))
        return {exemplar["labels"]["trace_id"] for each in found for exemplar in each["exemplars"]}

    until(lambda: bool(traces()))
    assert all(re.fullmatch("[0-9a-f]{32}", trace) for trace in traces())


def test_only_pods_of_the_service_are_counted(idle: list[Answer]) -> None:
    """Not its migration's, nor those of another whose name begins alike."""
    restarts = one(idle, "Restarts by pod")
    assert [each["metric"] for each in restarts.series] == [{"pod": POD}]
    assert restarts.values == [0]


def test_what_happens_without_a_request_is_seen(idle: list[Answer], busy: list[Answer]) -> None:
    for panel in ("Tasks waiting", "Oldest due task", "Failed tasks", "Unknown tasks"):
        assert one(idle, panel).values == [0], panel
    assert {each["metric"]["task"] for each in one(idle, "Waiting by name").series} > {"mark", "other"}
    assert one(idle, "Workers ready").values == [0.5]
    assert one(idle, "Running, and room", "B").values == [8]  # the worker's, and those of the API's pod
    assert one(idle, "Failed Jobs").values == [1]
    took = {each["metric"]["job_name"]: float(each["value"][1]) for each in one(idle, "Jobs", "B").series}
    assert took["links-clean-up-28333333"] == 90
    assert took["links-report"] > 1e7
    assert [each["metric"] for each in one(idle, "Memory of workers").series] == [{"pod": WORKER}]
    outcomes = {each["metric"]["outcome"]: float(each["value"][1]) for each in one(busy, "Attempts by outcome").series}
    assert outcomes["done"] > 0
    assert outcomes["failed"] == 0
    slowest = {each["metric"]["task"]: float(each["value"][1]) for each in one(busy, "Duration: 99 %").series}
    assert 0 < slowest["mark"] < 5


@pytest.mark.usefixtures("idle")
def test_a_foreign_image_is_shown_as_far_as_it_is_measured(prometheus: Prometheus) -> None:
    """Zero where nothing was counted; and where zero would be a guess, the panel says why it is empty."""
    answers = [Answer(query, prometheus.series(query.expression)) for query in of(OTHER)]
    assert not bad(answers)
    unexplained = [each.query.where for each in answers if not each.series and each.query.absent == NOT_SCRAPED]
    assert not unexplained
    assert one(answers, "Pods ready").values == [1]
    assert one(answers, "Requests are judged").values == [3]
    for panel in ("Failing requests", "Slowest 1 %", "Requests", "Failing requests by route", "Top errors"):
        assert not one(answers, panel).series, panel


@pytest.mark.usefixtures("idle")
def test_a_service_that_is_down_does_not_look_healthy(prometheus: Prometheus) -> None:
    answers = [Answer(query, prometheus.series(query.expression)) for query in of(GONE)]
    assert not bad(answers)
    for panel in ("Failing requests", "Slowest 1 %", "Requests", "Alerts firing", "Firing alerts"):
        assert not one(answers, panel).series, panel
    assert one(answers, "Pods missing").values == [1]


@pytest.mark.usefixtures("busy")
def test_variables_find_the_service(prometheus: Prometheus) -> None:
    found: dict[str, set[str]] = {}
    for dashboard in DASHBOARDS:
        for name, (selector, label, cut) in queries.choices(dashboard, LINKS).items():
            known = f'{selector[:-1]}, {label}!=""}}'  # as Grafana does
            values = [each["metric"][label] for each in prometheus.series(f"group by ({label}) ({known})")]
            found.setdefault(name, set()).update(re.sub(cut, r"\1", value) if cut else value for value in values)
    assert found["namespace"] == {"links", "other", "gone"}  # and not the cluster's own
    assert found["job"] - {"links-worker"} == found["deployment"] - {"links-worker"} == {"links"}
    assert found["worker"] == {"worker"}
    assert "/{slug}" in found["route"]


@pytest.mark.usefixtures("idle")
def test_a_new_version_is_marked_where_it_begins(prometheus: Prometheus) -> None:
    asked = queries.annotations(DASHBOARDS[0], LINKS)
    now = prometheus.values("vector(time())")[0]
    found = prometheus.get("query_range", query=asked["New version"], start=str(now - 60), end=str(now), step="1")[
        "result"
    ]
    (series,) = found
    assert 1 <= len(series["values"]) <= 6  # and then no more
    assert sorted(prometheus.values(asked["Rollout"])) == [1.6e12, 1.7e12]
