"""What the chart makes of the metrics of each library: requests are judged, or it is said that they cannot be."""

from dataclasses import dataclass
from typing import Any

import pytest

from delivery.deploy import environment
from delivery.deploy.access import Access
from delivery.deploy.bake import Bake, Limits
from delivery.deploy.prometheus import Prometheus as Asked
from delivery.deploy.rollout import Pod, State
from delivery.deploy.values import Objectives
from grafana import queries
from grafana.dashboards import FOLDER
from tests.grafana.prometheus import Prometheus
from tests.libraries.conftest import pod, release
from tests.unit.processes import until
from toolkit.process import Failure

WHY = {
    "instrumentator": "no status",
    "starlette_exporter": "other names",
    "opentelemetry": "other names",
    "process": "no histogram",
}
UNJUDGED = pytest.mark.parametrize("library", WHY)
OBJECTIVES = Objectives(errors=0.001, slow=0.01, threshold="0.5", burn_rate=14.4, minimum=5)
WINDOWS = {"__rate_interval": "10s", "__interval": "1s", "__range": "1m"}


@dataclass(frozen=True)
class Local(Asked):
    """A Prometheus that needs no API server to be asked."""

    server: Prometheus

    def query(self, promql: str) -> list[dict[str, Any]]:
        return self.server.series(promql)


def bake(server: Prometheus, library: str) -> Bake:
    """A bake that has looked once."""
    where = environment.Prometheus(namespace="monitoring", service="prometheus", port=9090)
    asked = Local(Access("test", release(library)), where, server)
    subject = Bake(asked, release(library), Limits(OBJECTIVES, 14.4, 5, 10), 5, set())
    new = Pod(pod(library), pod(library), "new", True, False, 0)
    subject.look(State(template="new", observed=True, pods=[new]))
    return subject


def selector(library: str) -> str:
    return f'namespace="{release(library)}",job="{release(library)}"'


def firing(server: Prometheus, library: str) -> set[str]:
    """The alerts, and why where they say so."""
    found = server.series(f'ALERTS{{alertstate="firing",{selector(library)},alertname=~".*(Unjudged|Burn|NoTraffic)"}}')
    return {" ".join([each["metric"]["alertname"], each["metric"].get("reason", "")]).strip() for each in found}


def panel(server: Prometheus, library: str, title: str) -> list[float]:
    """What a panel of the overview dashboard shows."""
    name = release(library)
    variables = {"namespace": name, "job": name, "deployment": name, **WINDOWS}
    (query,) = [
        query
        for dashboard in queries.load(FOLDER)
        for query in queries.queries(dashboard, variables)
        if (query.dashboard, query.panel) == ("fastapi-overview", title)
    ]
    return server.values(query.expression)


@UNJUDGED
def test_what_cannot_be_judged_is_no_good_news(library: str, failing: Prometheus) -> None:
    until(lambda: firing(failing, library) == {f"ServiceRequestsUnjudged {WHY[library]}"})
    of_slos = f'{{__name__=~"job:slo_(errors|error_budget|requests).*|job:http_requests:rate5m",{selector(library)}}}'
    assert failing.series(of_slos) == []
    assert panel(failing, library, "Requests are judged") == [2 if library == "instrumentator" else 3]
    for title in ("Failing requests", "Error budget left", "Failing requests by route", "Top errors"):
        assert panel(failing, library, title) == [], title


@UNJUDGED
def test_a_bake_that_cannot_judge_says_so(library: str, failing: Prometheus) -> None:
    subject = bake(failing, library)
    assert not subject.proven
    assert subject.unjudged in subject.unproven()
    if library == "instrumentator":
        assert subject.unjudged.endswith("requests have no status code in the label status")
    else:
        assert subject.unjudged == "its metrics have no http_request_duration_seconds"


def test_what_can_be_judged_is(failing: Prometheus) -> None:
    """The instrumentator's, by one more line: half of all answers spend the budget and fire the alert."""
    library = "instrumentator_latency"
    assert firing(failing, library) == {"ServiceAvailabilityBurn"}
    (left,) = failing.values(f'job:slo_error_budget_remaining:ratio{{{selector(library)},slo="availability"}}')
    assert left < 0
    assert panel(failing, library, "Requests are judged") == [1]
    assert panel(failing, library, "Failing requests")[0] > 0.3
    with pytest.raises(Failure, match="answers of the new version were errors"):
        bake(failing, library)
