"""What the chart makes of the metrics of each library: requests are judged, or it is said that they cannot be."""

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from delivery.deploy import environment
from delivery.deploy.access import Access
from delivery.deploy.bake import Bake, Limits
from delivery.deploy.prometheus import Prometheus as Asked
from delivery.deploy.rollout import Pod, State
from delivery.deploy.values import Objectives
from grafana import queries
from grafana.dashboards import files
from keel.contract.metric_profiles import PROFILES as CONTRACT
from keel.contract.metric_profiles import labels_of, recognized
from tests.chart.helm import render
from tests.grafana.prometheus import Json, Prometheus
from tests.libraries.conftest import FAILING, IDLE, MISTAKEN, SERVING, Scene, Subject
from tests.support.processes import until
from toolkit.paths import PLATFORM
from toolkit.process import Failure

# The first waits for the environment to be made, and for alerts to fire.
pytestmark = pytest.mark.timeout(300)
WHY = {
    "instrumentator": "no status",
    "starlette_exporter": "other names",
    "opentelemetry": "other names",
    "process": "no histogram",
}
LATENCY = "ServiceRequestsUnjudged no bucket"
OBJECTIVES = Objectives(errors=0.001, slow=0.01, threshold="0.5", burn_rate=14.4, minimum=5)
WINDOWS = {"__rate_interval": "15s", "__interval": "1s", "__range": "1m"}


def each(subjects: list[Subject]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("subject", subjects, ids=lambda subject: subject.name)


@dataclass(frozen=True)
class Local(Asked):
    """A Prometheus that needs no API server to be asked."""

    server: Prometheus

    def query(self, promql: str) -> list[dict[str, Any]]:
        return self.server.series(promql)


def bake(scene: Scene, subject: Subject) -> Bake:
    """A bake that has looked once."""
    where = environment.Prometheus(namespace="monitoring", service="prometheus", port=9090)
    asked = Local(Access("test", subject.name), where, scene.server)
    found = Bake(asked, subject.name, Limits(OBJECTIVES, 14.4, 5, 10), 5, set())
    new = Pod(subject.pod, subject.pod, "new", True, False, 0)
    found.look(State(template="new", observed=True, pods=[new]))
    return found


def firing(scene: Scene, subject: Subject) -> set[str]:
    """The alerts, and why where they say so."""
    names = ".*(Unjudged|Burn|NoTraffic)"
    found = scene.server.series(f'ALERTS{{alertstate="firing",{subject.selector},alertname=~"{names}"}}')
    return {" ".join([one["metric"]["alertname"], one["metric"].get("reason", "")]).strip() for one in found}


def panel(scene: Scene, subject: Subject, title: str) -> list[Json]:
    """What a panel of the overview dashboard shows."""
    names = dict.fromkeys(("namespace", "job", "deployment"), subject.name)
    asked = [query for dashboard in queries.load(files()) for query in queries.queries(dashboard, {**names, **WINDOWS})]
    (query,) = [query for query in asked if (query.dashboard, query.panel) == ("fastapi-overview", title)]
    return scene.server.series(query.expression)


def words(title: str) -> dict[str, str]:
    """What a panel of the overview dashboard says in place of a number."""
    (found,) = [
        each
        for dashboard in queries.load(files())
        if dashboard["uid"] == "fastapi-overview"
        for each in queries.panels(dashboard)
        if each["title"] == title
    ]
    (mapping,) = found["fieldConfig"]["defaults"]["mappings"]
    return {number: result["text"] for number, result in mapping["options"].items()}


def shown(scene: Scene, subject: Subject, title: str) -> list[float]:
    return [float(one["value"][1]) for one in panel(scene, subject, title)]


def test_each_library_is_mistaken_for_ours_once() -> None:
    assert {subject.library for subject in MISTAKEN} == WHY.keys()


@each(MISTAKEN)
def test_what_cannot_be_judged_is_no_good_news(subject: Subject, scene: Scene) -> None:
    until(lambda: firing(scene, subject) == {f"ServiceRequestsUnjudged {WHY[subject.library]}"})
    slos = f'{{__name__=~"job:slo_(errors|error_budget|requests).*|job:http_requests:rate5m",{subject.selector}}}'
    assert scene.server.series(slos) == []
    number = 2 if subject.library == "instrumentator" else 3
    scene.eventually(lambda: shown(scene, subject, "Requests are judged") == [number])
    assert words("Requests are judged")[str(number)].startswith("no: ")
    for title in ("Failing requests", "Error budget left", "Failing requests by route", "Top errors"):
        assert panel(scene, subject, title) == [], title


@each(MISTAKEN)
def test_a_bake_that_cannot_judge_says_so(subject: Subject, scene: Scene) -> None:
    found = bake(scene, subject)
    assert not found.proven
    assert found.unjudged == found.unproven()
    if subject.library == "instrumentator":
        assert found.unjudged.endswith("requests have no status code in the label status")
    else:
        assert found.unjudged == "its metrics have no http_request_duration_seconds"


def budget(scene: Scene, subject: Subject) -> dict[str, float]:
    """What is left, by SLO."""
    left = scene.server.series(f"job:slo_error_budget_remaining:ratio{{{subject.selector}}}")
    return {one["metric"]["slo"]: float(one["value"][1]) for one in left}


def slos(subject: Subject) -> set[str]:
    """Those that can be judged: the instrumentator's defaults do not say which of the slow answers are errors."""
    return {"availability"} if subject.library == "instrumentator" else {"availability", "latency"}


@each([*FAILING, Subject("instrumentator_latency")])
def test_errors_spend_the_budget_and_fire_the_alert(subject: Subject, scene: Scene) -> None:
    alerts = {"ServiceAvailabilityBurn"} | ({LATENCY} if subject.library == "instrumentator" else set())
    scene.eventually(lambda: firing(scene, subject) == alerts)
    # That of OpenTelemetry is not known in the first minute: before its first request it counts nothing at all.
    scene.eventually(lambda: budget(scene, subject).keys() == slos(subject))
    assert budget(scene, subject)["availability"] < -50
    # Without a profile what scrapes it counts, too.
    least = 0.4 if subject.profile != "own" else 0.1
    scene.eventually(lambda: shown(scene, subject, "Failing requests") > [least])
    assert shown(scene, subject, "Requests are judged") == [1]
    with pytest.raises(Failure, match="answers of the new version were errors"):
        bake(scene, subject)


@each(SERVING)
def test_without_errors_nothing_is_spent(subject: Subject, scene: Scene) -> None:
    """A client's own mistakes, 404, are none."""
    alerts = {LATENCY} if subject.library == "instrumentator" else set()
    scene.eventually(lambda: firing(scene, subject) == alerts)
    scene.eventually(lambda: budget(scene, subject).keys() == slos(subject))
    assert budget(scene, subject)["availability"] == 1
    scene.eventually(lambda: shown(scene, subject, "Requests are judged") == [1])
    assert shown(scene, subject, "Failing requests") == [0]
    found = bake(scene, subject)
    assert found.tally.total.requests >= 10
    assert found.tally.total.errors == 0
    if subject.library == "instrumentator":
        assert found.unjudged == "its requests have no bucket of 0.5 s that has a status, too"
    else:
        assert found.proven


@each(IDLE)
def test_what_only_the_cluster_asks_is_idle(subject: Subject, scene: Scene) -> None:
    """A library counts probes and scrapes, too, and these are no users."""
    until(lambda: firing(scene, subject) == {"ServiceNoTraffic"})
    assert budget(scene, subject) == {"availability": 1, "latency": 1}
    assert shown(scene, subject, "Requests are judged") == [0]
    for title in ("Failing requests", "Requests"):
        assert shown(scene, subject, title) == [0], title
    found = bake(scene, subject)
    assert (found.unjudged, found.proven) == ("", False)
    assert found.unproven().startswith("0 requests prove nothing")


@each(FAILING)
def test_statuses_and_routes_are_told_apart(subject: Subject, scene: Scene) -> None:
    def statuses() -> set[str]:
        return {one["metric"]["status"][0] for one in panel(scene, subject, "Answers by status")}

    def worst() -> set[tuple[str, str]]:
        return {
            (one["metric"]["route"], one["metric"].get("method", "")) for one in panel(scene, subject, "Top errors")
        }

    scene.eventually(lambda: statuses() >= {"2", "4", "5"} and worst() == {("/items/{item}", "GET")})
    by_route = {one["metric"]["route"] for one in panel(scene, subject, "Requests by route")}
    assert "/items/{item}" in by_route
    assert "/metrics" not in by_route
    scene.eventually(lambda: [0.0] < shown(scene, subject, "Slowest 1 %") < [1.0])


@each([subject for subject in FAILING if subject.profile in CONTRACT and not subject.library.endswith("_pushed")])
def test_the_contract_knows_the_library(subject: Subject, scene: Scene) -> None:
    app = scene.apps[subject.library, subject.asked]
    series = labels_of(app.client.get("/metrics", follow_redirects=True).text)
    assert recognized(series) == subject.profile
    lacks = "http_request_duration_seconds_bucket has no status" if subject.library == "instrumentator" else ""
    assert CONTRACT[subject.profile].missing(series) == lacks


def scaling(subject: Subject) -> str:
    """What KEDA asks."""
    keda = {"enabled": True, "prometheus": {"serverAddress": "http://prometheus:9090", "targetRequestsPerSecond": 10}}
    values = {**subject.values, "keda": keda, "autoscaling": {"enabled": False}}
    found = render(values, release=subject.name, options=(f"--namespace={subject.name}",)).one("ScaledObject")
    query: str = found["spec"]["triggers"][0]["metadata"]["query"]
    return query


def adapted(subject: Subject) -> dict[str, str]:
    """What the local cluster's adapter asks for the HorizontalPodAutoscaler, by the name that it offers."""
    rules = yaml.safe_load((PLATFORM / "monitoring" / "adapter-config.yaml").read_text(encoding="utf-8"))["rules"]
    found = {}
    for rule in rules:
        series = rule["seriesQuery"].partition("{")[0]
        filled = {
            "Series": series,
            "LabelMatchers": f'namespace="{subject.name}",pod="{subject.pod}"',
            "GroupBy": "pod",
        }
        query = rule["metricsQuery"]
        for name, word in filled.items():
            query = query.replace(f"<<.{name}>>", word)
        found[rule["name"]["as"]] = query
    return found


@each(FAILING)
def test_the_autoscalers_see_the_requests(subject: Subject, scene: Scene) -> None:
    asked = adapted(subject)
    keda, rate = scaling(subject), asked["http_requests_per_second"]
    scene.eventually(lambda: scene.server.values(keda) > [0.0] and scene.server.values(rate) > [0.0])
    if subject.library != "instrumentator":  # by its defaults it has no gauge of them
        scene.eventually(lambda: len(scene.server.values(asked["http_requests_in_flight"])) == 1)
