"""Under which names the contract looks for the histogram, and what it says where it is not there."""

from dataclasses import dataclass
from typing import Any

import pytest

from keel.contract import points
from keel.contract.container import Answer, Pod
from keel.contract.metric_profiles import PROFILES, MetricNames, chosen
from keel.contract.points import Result, Trial

OURS = (
    'http_request_duration_seconds_bucket{le="0.5",method="GET",route="/a}b\\"",status="200"} 1 # {trace_id="4f"} 0.1\n'
)
DEFAULTS = 'http_request_duration_seconds_bucket{handler="/",le="0.5",method="GET"} 1.0\n'
LINE = "`Instrumentator().add(metrics.latency()).instrument(app).expose(app)`"


@dataclass(frozen=True)
class Answering:
    """A container that has these metrics."""

    pod: Pod
    metrics: str

    def status(self, _port: int, _path: str) -> int:
        return 200

    def try_to_ask(self, _port: int, _path: str) -> Answer:
        return Answer(200, {}, self.metrics)


def judged(metrics: str, values: dict[str, Any]) -> Result:
    profile, names = chosen(values)
    container: Any = Answering(Pod("app:1", metric_profile=profile, metric_names=names), metrics)
    return points.histogram(Trial(container, "/", "canary", 1.0))


@pytest.mark.parametrize(
    ("metrics", "profile"),
    [
        (OURS, "own"),
        (OURS.replace("route=", "handler="), "instrumentator"),
        (
            'http_server_request_duration_seconds_bucket{http_request_method="GET",http_response_status_code="200",'
            'http_route="/",le="0.5"} 1.0\n',
            "otel",
        ),
        (
            'starlette_request_duration_seconds_bucket{le="1",method="GET",path="/",status_code="200"} 1\n',
            "starlette_exporter",
        ),
    ],
)
def test_each_profile(metrics: str, profile: str) -> None:
    assert judged(metrics, {"metrics": {"profile": profile}}).kept
    for other in PROFILES.keys() - {profile}:
        found = judged(metrics, {"metrics": {"profile": other}})
        assert not found.kept
        assert f"Set metrics.profile to {profile}" in found.change or profile == "instrumentator"


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({}, f"Set metrics.profile to instrumentator, and write {LINE}, so that it has a status."),
        ({"metrics": {"profile": "instrumentator"}}, f"Write {LINE}, so that it has a status."),
    ],
)
def test_a_histogram_without_a_status(values: dict[str, Any], change: str) -> None:
    found = judged(DEFAULTS, values)
    assert (found.kept, found.change) == (False, change)
    assert found.seen.startswith("http_request_duration_seconds_bucket has no ")
    assert found.seen.endswith("status")


def test_no_histogram() -> None:
    found = judged("python_info 1\n", {})
    assert (found.kept, found.seen) == (False, "no http_request_duration_seconds_bucket")
    assert "keel.serve" in found.change


def test_names_of_ones_own() -> None:
    values = {"metrics": {"profile": "custom", "custom": {"histogram": "took", "status": "code", "unit": "seconds"}}}
    assert chosen(values) == ("custom", MetricNames(histogram="took", status="code"))
    found = judged('took_bucket{code="200",le="1",method="GET"} 1\n', values)
    assert (found.seen, found.change) == (
        "took_bucket has no route",
        "Give took the labels method, route, code.",
    )


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        ({"profile": "mine"}, "There is no metrics.profile 'mine': take one of own, instrumentator, otel, "),
        ({"profile": "custom"}, "metrics.custom.histogram is missing"),
    ],
)
def test_mistakes(metrics: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        chosen({"metrics": metrics})
