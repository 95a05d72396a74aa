"""The HorizontalPodAutoscaler: what it follows, and how fast."""

from typing import Any

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


def by_pod(metric: str, value: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": value}},
    }


def test_requests_by_pod() -> None:
    in_flight, rate = by_pod("http_requests_in_flight", "20"), by_pod("http_requests_per_second", "100")
    assert autoscaler(targetRequestsInFlight=20)["metrics"][1:] == [in_flight]
    assert autoscaler(targetRequestsPerSecond=100)["metrics"][1:] == [rate]
    alone = {"targetCPUUtilizationPercentage": None, "targetRequestsInFlight": 20, "targetRequestsPerSecond": 100}
    assert autoscaler(**alone)["metrics"] == [in_flight, rate]


def test_other_metrics() -> None:
    pods = by_pod("queue_length", "30")
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


def test_keda_may_take_over_while_it_is_still_there() -> None:
    metadata = render().one("HorizontalPodAutoscaler")["metadata"]
    assert metadata["annotations"] == {"validations.keda.sh/hpa-ownership": "false"}
