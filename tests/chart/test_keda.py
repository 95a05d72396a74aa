"""KEDA in place of the HorizontalPodAutoscaler."""

from typing import Any

import pytest

from .helm import Objects, pod, refusal, render

PROMETHEUS = "http://prometheus.monitoring:9090"
CRON = {
    "type": "cron",
    "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *", "desiredReplicas": "9"},
}
CPU = {"type": "cpu", "metricType": "Utilization", "metadata": {"containerName": "app", "value": "70"}}


def keda(**values: Any) -> dict[str, Any]:
    return {
        "autoscaling": {"enabled": False},
        "keda": {"enabled": True, "prometheus": {"serverAddress": PROMETHEUS}, **values},
    }


def scaled(**values: Any) -> dict[str, Any]:
    spec: dict[str, Any] = render(keda(**values)).one("ScaledObject")["spec"]
    return spec


def test_off_by_default() -> None:
    assert not render().all("ScaledObject")


def test_it_scales_the_deployment_and_is_the_only_one() -> None:
    objects = render(keda())
    spec = objects.one("ScaledObject")["spec"]
    deployment = objects.one("Deployment")
    assert spec["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
        "envSourceContainerName": pod(deployment)["containers"][0]["name"],
    }
    assert not objects.all("HorizontalPodAutoscaler")
    assert "replicas" not in deployment["spec"]


def test_its_numbers() -> None:
    spec = scaled()
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (3, 10, 15)
    spec = scaled(minReplicas=2, maxReplicas=30, pollingInterval=5)
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["pollingInterval"]) == (2, 30, 5)


def test_its_annotations() -> None:
    paused = {"autoscaling.keda.sh/paused-replicas": "5"}
    assert render(keda(annotations=paused)).one("ScaledObject")["metadata"]["annotations"] == paused
    assert "annotations" not in render(keda()).one("ScaledObject")["metadata"]


def test_requests_a_second_by_prometheus() -> None:
    (trigger,) = scaled()["triggers"]
    assert trigger == {
        "type": "prometheus",
        "metricType": "AverageValue",
        "metadata": {
            "serverAddress": PROMETHEUS,
            "query": 'sum(rate(http_request_duration_seconds_count{namespace="default",job="demo"}[1m])) '
            'or 0 * count(up{namespace="default",job="demo"} == 1)',
            "threshold": "50",
            "ignoreNullValues": "false",
        },
    }


def test_another_query_and_target() -> None:
    own = {"serverAddress": PROMETHEUS, "query": "sum(rate(hits[1m]))", "targetRequestsPerSecond": 12.5}
    (trigger,) = scaled(prometheus=own)["triggers"]
    assert (trigger["metadata"]["query"], trigger["metadata"]["threshold"]) == ("sum(rate(hits[1m]))", "12.5")


def test_other_triggers_come_after_or_alone() -> None:
    assert [each["type"] for each in scaled(triggers=[CPU, CRON])["triggers"]] == ["prometheus", "cpu", "cron"]
    assert scaled(prometheus={"serverAddress": ""}, triggers=[CRON])["triggers"] == [CRON]


def test_a_source_that_fails_takes_no_pod_away() -> None:
    assert scaled()["fallback"] == {"failureThreshold": 3, "replicas": 3, "behavior": "currentReplicasIfHigher"}
    assert scaled(fallback={"failureThreshold": 2, "replicas": 8})["fallback"]["replicas"] == 8


def test_kedas_own_triggers_know_no_fallback() -> None:
    assert "fallback" not in scaled(prometheus={"serverAddress": ""}, triggers=[CPU])
    assert "fallback" in scaled(prometheus={"serverAddress": ""}, triggers=[CPU, CRON])


def test_as_fast_as_the_other_autoscaler() -> None:
    behavior = render().one("HorizontalPodAutoscaler")["spec"]["behavior"]
    assert scaled()["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == behavior

    values = keda()
    values["autoscaling"]["behavior"] = None
    advanced = render(values).one("ScaledObject")["spec"]["advanced"]
    assert "behavior" not in advanced["horizontalPodAutoscalerConfig"]


def test_the_name_of_kedas_autoscaler_fits_a_label() -> None:
    def name(objects: Objects) -> str:
        config: dict[str, str] = objects.one("ScaledObject")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]
        return config["name"]

    assert name(render(keda())) == "demo-fastapi-service-keda"
    assert len(name(render(keda(), release="r" * 53))) == 63


def test_the_budget_is_held_against_its_numbers() -> None:
    values = {**keda(minReplicas=2), "podDisruptionBudget": {"maxUnavailable": 2}}
    assert refusal(values) == [
        "podDisruptionBudget.maxUnavailable 2 lets a node drain take all 2 pods at once: write at most 1"
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {**keda(), "autoscaling": {"enabled": True}},
            "autoscaling.enabled and keda.enabled are both true, and would pull at the number of pods "
            "from two sides: set one to false",
        ),
        (
            keda(minReplicas=11),
            "keda.minReplicas 11 is above keda.maxReplicas 10: lower the one or raise the other",
        ),
        (
            keda(fallback={"replicas": 11}),
            "keda.fallback.replicas 11 is above keda.maxReplicas 10: lower the one or raise the other",
        ),
        (
            keda(prometheus={"serverAddress": ""}),
            "keda has no trigger to follow: set keda.prometheus.serverAddress, or list keda.triggers",
        ),
        (keda(minReplicas=0), "at '/keda/minReplicas': minimum: got 0, want 1"),
        (keda(triggers=[{"metadata": {}}]), "at '/keda/triggers/0': missing property 'type'"),
        (
            keda(prometheus={"serverAddress": "prometheus:9090"}),
            "at '/keda/prometheus/serverAddress': 'prometheus:9090' does not match pattern '^(https?://.+)?$'",
        ),
    ],
)
def test_what_cannot_work_is_explained(values: dict[str, Any], message: str) -> None:
    assert refusal(values) == [message]
