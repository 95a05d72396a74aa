"""Nothing that operations do to a healthy service costs a request or fires an alert, with the chart's defaults."""

from collections.abc import Callable

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE, RELEASE
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.delivery.variants import NEXT, PRESENT
from tests.e2e.faults.conftest import Autoscaler, Fault
from tests.e2e.pods import FEWEST, deployment_is_settled, drain_each_worker, pod_names
from tests.e2e.release import ready_pods
from toolkit.process import run

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("quiet")]
LOG = "e2e-planned"


@pytest.mark.nightly
def test_rolling_restart(stack: up.Stack, fault: Fault) -> None:
    kubectl = [*stack.cluster.kubectl, "--namespace", NAMESPACE, "rollout"]
    with ready_pods(stack, NAMESPACE, RELEASE) as ready, fault("rolling restart"):
        run([*kubectl, "restart", f"deployment/{RELEASE}"], log=LOG)
        run([*kubectl, "status", f"deployment/{RELEASE}", "--timeout=180s"], log=LOG)
    assert min(ready) >= FEWEST, ready


def test_upgrade_with_migrations_and_back(
    stack: up.Stack, web: httpx.Client, images: Callable[[str], Built], fault: Fault
) -> None:
    assert versions(web) == {PRESENT}
    image = images("next")
    with ready_pods(stack, NAMESPACE, RELEASE) as ready, fault("helm upgrade to a new image, with migrations"):
        run(stack.service.upgrade_command(image), log=LOG)
    assert min(ready) >= FEWEST, ready
    assert versions(web) == {NEXT}

    with ready_pods(stack, NAMESPACE, RELEASE) as ready, fault("helm rollback"):
        rollback = ["rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "180s"]
        run([*stack.cluster.helm, *rollback], log=LOG)
    assert min(ready) >= FEWEST, ready
    assert versions(web) == {PRESENT}
    assert "Rollback" in stack.service.history()[-1]["description"]


def versions(web: httpx.Client) -> set[str]:
    """What the pods say that they are."""
    return {web.get("/").json()["version"] for _ in range(10)}


@pytest.mark.nightly
def test_graceful_deletion_of_each_pod(apps: client.AppsV1Api, core: client.CoreV1Api, fault: Fault) -> None:
    with fault("graceful deletion of each pod"):
        for name in pod_names(core):
            core.delete_namespaced_pod(name, NAMESPACE)
            wait_for("another pod in its place", lambda: deployment_is_settled(apps, core), seconds=90)
            assert name not in {p.metadata.name for p in core.list_namespaced_pod(NAMESPACE).items}


@pytest.mark.nightly
def test_the_autoscaler_adds_two_pods_and_removes_them(
    apps: client.AppsV1Api, autoscaler: Autoscaler, fault: Fault
) -> None:
    def there(count: int) -> bool:
        status = apps.read_namespaced_deployment(RELEASE, NAMESPACE).status
        return bool(status.replicas == status.ready_replicas == count)

    before = apps.read_namespaced_deployment(RELEASE, NAMESPACE).status.replicas
    with fault("the autoscaler adds two pods, and removes them"):
        autoscaler.exactly(before + 2)
        wait_for("two more", lambda: there(before + 2), seconds=180)
        autoscaler.exactly(FEWEST)
        wait_for("the fewest", lambda: there(FEWEST), seconds=180)


def test_drain_of_one_worker_and_then_the_other(stack: up.Stack, fault: Fault) -> None:
    """The second is the one that all pods fled to; `make faults` does it three times in a row."""
    with fault("drain of one worker, then of the other"):
        drain_each_worker(stack, NAMESPACE, RELEASE)
