"""Prometheus finds the service by its ServiceMonitor, and what happens now shows there."""

from collections.abc import Callable

import httpx
from kubernetes import client

from k8s import up
from tests.e2e.cluster import wait_for
from tests.e2e.pods import PODS
from tests.e2e.prometheus import query
from tests.e2e.subject import SUBJECT


def test_every_pod_is_a_target_and_up(stack: up.Stack, core: client.CoreV1Api, report: Callable[..., None]) -> None:
    def all_up() -> bool:
        pods = {p.metadata.name for p in core.list_namespaced_pod("links", label_selector=PODS).items}
        seen = {r["metric"]["pod"] for r in query(stack, 'up{namespace="links"} == 1')}  # type: ignore[index]
        return bool(pods) and pods <= seen

    wait_for("every pod of the service as a target that is up", all_up, seconds=90)
    report("Prometheus scrapes every pod")


def test_request_made_now_shows_in_a_query(
    stack: up.Stack, web: httpx.Client, page: str, report: Callable[..., None]
) -> None:
    labels = f'namespace="links",route="{SUBJECT.route}",status="{SUBJECT.status}",method="GET"'
    counted = f"http_request_duration_seconds_count{{{labels}}}"

    def by_pod() -> dict[str, float]:
        return {r["metric"]["pod"]: float(r["value"][1]) for r in query(stack, counted)}  # type: ignore[index]

    before = by_pod()
    for _ in range(20):
        assert web.get(page).status_code == SUBJECT.status

    def gained() -> bool:
        # By pod: one that the autoscaler has just removed takes its count along.
        return sum(max(0.0, now - before.get(pod, 0)) for pod, now in by_pod().items()) >= 20

    wait_for("20 more requests in Prometheus", gained, seconds=60)
    report("a request made now shows in a query")


def test_autoscaler_can_read_the_service_s_own_metrics(stack: up.Stack) -> None:
    def offered() -> bool:
        found = client.CustomObjectsApi().list_namespaced_custom_object(
            "custom.metrics.k8s.io", "v1beta1", "links", "pods/*/http_requests_in_flight"
        )
        return len(found["items"]) > 0

    wait_for("requests in flight as a custom metric", offered, seconds=90)


def test_alertmanager_is_where_prometheus_sends_alerts(stack: up.Stack) -> None:
    facts = stack.service.facts()
    assert httpx.get(f"{facts['alertmanager']}/-/ready", timeout=10).status_code == 200

    def connected() -> bool:
        answer = httpx.get(f"{facts['prometheus']}/api/v1/alertmanagers", timeout=10).json()
        return len(answer["data"]["activeAlertmanagers"]) == 1

    wait_for("Prometheus to know its Alertmanager", connected)
