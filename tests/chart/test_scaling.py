"""How many pods: the autoscaler, and what a node drain may take."""

from typing import Any

import pytest

from .helm import render


def autoscaler(**values: object) -> dict[str, Any]:
    spec: dict[str, Any] = render({"autoscaling": values}).one("HorizontalPodAutoscaler")["spec"]
    return spec


def utilization(resource: str, percent: int) -> dict[str, Any]:
    return {
        "type": "ContainerResource",
        "containerResource": {
            "container": "app",
            "name": resource,
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    }


def test_on_by_default_for_the_deployment() -> None:
    objects = render()
    spec = autoscaler()
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    assert spec["metrics"] == [utilization("cpu", 70)]
    deployment = objects.one("Deployment")
    assert spec["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert spec["metrics"][0]["containerResource"]["container"] == objects.container["name"]


def test_off() -> None:
    assert not render({"autoscaling": {"enabled": False}}).all("HorizontalPodAutoscaler")


def test_other_metrics() -> None:
    pods = {
        "type": "Pods",
        "pods": {
            "metric": {"name": "http_requests_in_flight"},
            "target": {"type": "AverageValue", "averageValue": "20"},
        },
    }
    assert autoscaler(targetMemoryUtilizationPercentage=80)["metrics"][1:] == [utilization("memory", 80)]
    assert autoscaler(metrics=[pods])["metrics"][1:] == [pods]
    assert autoscaler(targetCPUUtilizationPercentage=None, metrics=[pods])["metrics"] == [pods]


def test_up_at_once_and_down_slowly() -> None:
    behavior = autoscaler()["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert {"type": "Percent", "value": 100, "periodSeconds": 15} in behavior["scaleUp"]["policies"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert behavior["scaleDown"]["policies"] == [{"type": "Percent", "value": 25, "periodSeconds": 60}]


def test_own_behaviour_or_the_clusters() -> None:
    assert autoscaler(behavior={"scaleUp": {"stabilizationWindowSeconds": 30}})["behavior"]["scaleUp"][
        "stabilizationWindowSeconds"
    ] == (30)
    assert "behavior" not in autoscaler(behavior=None)


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_drain_always_goes_on_and_takes_one_pod_at_a_time(replicas: int) -> None:
    objects = render({"autoscaling": {"enabled": False}, "replicas": replicas})
    spec = objects.one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec
    assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("budget", [2, "30%", "34%"])
def test_another_budget(budget: object) -> None:
    objects = render({"podDisruptionBudget": {"maxUnavailable": budget}})
    assert objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == budget


def test_no_budget() -> None:
    assert not render({"podDisruptionBudget": {"enabled": False}}).all("PodDisruptionBudget")
