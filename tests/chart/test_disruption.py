"""What a node drain may take: never all pods, and always some."""

from typing import Any

import pytest

from .helm import refusal, render

FIXED = {"autoscaling": {"enabled": False}}


def budget(**values: Any) -> dict[str, Any]:
    """The limits of a budget."""
    spec = render({"podDisruptionBudget": values}).one("PodDisruptionBudget")["spec"]
    return {name: spec[name] for name in ("maxUnavailable", "minAvailable") if name in spec}


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_drain_always_goes_on_and_takes_one_pod_at_a_time(replicas: int) -> None:
    objects = render({**FIXED, "replicas": replicas})
    spec = objects.one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("limit", [2, "30%", "34%"])
def test_another_limit(limit: object) -> None:
    assert budget(maxUnavailable=limit) == {"maxUnavailable": limit}


@pytest.mark.parametrize("limit", [2, "66%"])
def test_the_pods_that_stay_instead(limit: object) -> None:
    assert budget(maxUnavailable=None, minAvailable=limit) == {"minAvailable": limit}


def test_none() -> None:
    assert not render({"podDisruptionBudget": {"enabled": False}}).all("PodDisruptionBudget")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"maxUnavailable": 0}, "podDisruptionBudget.maxUnavailable 0 stops every node drain: write at least 1"),
        ({"maxUnavailable": "0%"}, "podDisruptionBudget.maxUnavailable 0% stops every node drain: write at least 1"),
        (
            {"maxUnavailable": 3},
            "podDisruptionBudget.maxUnavailable 3 lets a node drain take all 3 pods at once: write at most 2",
        ),
        (
            {"maxUnavailable": "67%"},
            "podDisruptionBudget.maxUnavailable 67% lets a node drain take all 3 pods at once: write at most 2",
        ),
        (
            {"minAvailable": 2},
            "podDisruptionBudget.maxUnavailable and podDisruptionBudget.minAvailable are both set, "
            "and Kubernetes takes one: set the other to null",
        ),
        (
            {"maxUnavailable": None},
            "podDisruptionBudget sets no limit: set podDisruptionBudget.maxUnavailable to 1, "
            "or podDisruptionBudget.enabled to false",
        ),
        (
            {"maxUnavailable": None, "minAvailable": 0},
            "podDisruptionBudget.minAvailable 0 lets a node drain take all pods at once: write at least 1",
        ),
        (
            {"maxUnavailable": None, "minAvailable": "0%"},
            "podDisruptionBudget.minAvailable 0% lets a node drain take all pods at once: write at least 1",
        ),
        (
            {"maxUnavailable": None, "minAvailable": 3},
            "podDisruptionBudget.minAvailable 3 stops every node drain while there are 3 pods: write at most 2",
        ),
        (
            {"maxUnavailable": None, "minAvailable": "67%"},
            "podDisruptionBudget.minAvailable 67% stops every node drain while there are 3 pods: write at most 2",
        ),
    ],
)
def test_a_budget_that_stops_drains_or_nothing_is_refused(values: dict[str, Any], message: str) -> None:
    assert refusal({"podDisruptionBudget": values}) == [message]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**FIXED, "replicas": 2, "podDisruptionBudget": {"maxUnavailable": 2}},
            "podDisruptionBudget.maxUnavailable 2 lets a node drain take all 2 pods at once: write at most 1",
        ),
        (
            {"autoscaling": {"minReplicas": 1}, "podDisruptionBudget": {"maxUnavailable": "100%"}},
            "podDisruptionBudget.maxUnavailable 100% lets a node drain take all 2 pods at once: write at most 1",
        ),
        (
            {"autoscaling": {"minReplicas": 1}, "podDisruptionBudget": {"maxUnavailable": None, "minAvailable": "10%"}},
            "podDisruptionBudget.minAvailable 10% stops every node drain while there is a single pod: "
            "set it to null and podDisruptionBudget.maxUnavailable to 1",
        ),
    ],
)
def test_it_is_held_against_the_fewest_pods(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]


@pytest.mark.parametrize(
    "values",
    [
        {"podDisruptionBudget": {"enabled": False, "maxUnavailable": 0}},
        {"podDisruptionBudget": {"maxUnavailable": "66%"}},
        {"podDisruptionBudget": {"maxUnavailable": None, "minAvailable": "66%"}},
        {**FIXED, "replicas": 0, "podDisruptionBudget": {"maxUnavailable": "50%"}},
        {**FIXED, "replicas": 0, "podDisruptionBudget": {"maxUnavailable": None, "minAvailable": 1}},
        {**FIXED, "replicas": 1, "podDisruptionBudget": {"maxUnavailable": 2}},
        {"autoscaling": {"minReplicas": 1}},
    ],
)
def test_what_can_work_is_not_refused(values: dict[str, Any]) -> None:
    assert render(values)
