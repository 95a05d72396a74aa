"""What users meet while what the service needs is away. These spend its error budget: they run late (conftest.py)."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from kubernetes import client

from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.test_monitoring import PODS
from tests.e2e.test_service import management, pod_names
from tests.e2e.test_zero_downtime import FEWEST, under

pytestmark = pytest.mark.timeout(300)


def postgresql(apps: client.AppsV1Api) -> client.V1StatefulSetStatus:
    return apps.read_namespaced_stateful_set("postgresql", "data").status


def ready_pods(core: client.CoreV1Api) -> set[str]:
    pods = core.list_namespaced_pod("links", label_selector=PODS).items
    statuses = {pod.metadata.name: pod.status.container_statuses or [] for pod in pods}
    return {name for name, found in statuses.items() if found and all(status.ready for status in found)}


@pytest.fixture
def without_database(apps: client.AppsV1Api, core: client.CoreV1Api, link: str) -> Iterator[None]:
    """The database stops once there is a link to follow, and the pods are those that are to stay."""
    del link

    def at_rest() -> bool:
        pods = core.list_namespaced_pod("links", label_selector=PODS).items
        return len(pods) == FEWEST and len(ready_pods(core)) == FEWEST and len(pod_names(core)) == FEWEST

    wait_for("the service at rest", at_rest, seconds=200)
    apps.patch_namespaced_stateful_set_scale("postgresql", "data", {"spec": {"replicas": 0}})
    wait_for("no database", lambda: not postgresql(apps).replicas)
    try:
        yield
    finally:
        apps.patch_namespaced_stateful_set_scale("postgresql", "data", {"spec": {"replicas": 1}})
        wait_for("the database again", lambda: postgresql(apps).ready_replicas)


@pytest.mark.usefixtures("without_database")
def test_without_a_database_pods_stay_ready_and_say_503_themselves(
    web: httpx.Client, token: str, core: client.CoreV1Api, load: Callable[..., Load], report: Callable[..., None]
) -> None:
    """Unready all at once, they would leave the answer to the ingress, which knew nothing but 404."""
    before = ready_pods(core)  # those that the autoscaler adds meanwhile do not get ready

    def all_know() -> bool:
        return all('"database":"ok"' not in management(core, pod, "readyz") for pod in before & set(pod_names(core)))

    authorization = {"Authorization": f"Bearer {token}"}
    with under(load()) as running:
        wait_for("every pod knows", all_know)
        more = running.sent + 10 * 100  # ten seconds: a readiness probe that failed three times would count by then
        running.sent_at_least(more)
        refused = web.post("/api/v1/links", json={"url": "https://example.com/"}, headers=authorization)
    assert {reason for _, reason in running.result.failures} == {"status 503 of the service"}
    assert refused.status_code == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) > 0
    staying = before & set(pod_names(core))
    assert len(staying) >= FEWEST
    assert staying <= ready_pods(core)
    report("the database is gone: the pods stay ready", note=f"{running.result.failed} answers of 503, no other")
