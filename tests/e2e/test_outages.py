"""What users meet while what the service needs is away. These spend its error budget: they run late (conftest.py)."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from kubernetes import client

from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.test_monitoring import PODS
from tests.e2e.test_service import management, pod_names
from tests.e2e.test_zero_downtime import under

pytestmark = pytest.mark.timeout(300)


def postgresql(apps: client.AppsV1Api) -> client.V1StatefulSetStatus:
    return apps.read_namespaced_stateful_set("postgresql", "data").status


@pytest.fixture
def without_database(apps: client.AppsV1Api, link: str) -> Iterator[None]:
    """The database stops once there is a link to follow."""
    del link
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

    def all_know() -> bool:
        return all('"database":"ok"' not in management(core, pod, "readyz") for pod in pod_names(core))

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
    pods = core.list_namespaced_pod("links", label_selector=PODS).items
    staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    assert all(status.ready for pod in staying for status in pod.status.container_statuses)
    report("the database is gone: the pods stay ready", note=f"{running.result.failed} answers of 503, no other")
