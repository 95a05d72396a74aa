"""Nothing that operations do to a healthy service costs a request or fires an alert, with the chart's defaults."""

import time
from collections.abc import Callable

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.delivery.variants import NEXT, PRESENT
from tests.e2e.load import Load, assert_lost_nothing, note, under
from tests.e2e.pods import FEWEST, PODS, deployment_is_settled, drain_each_worker
from tests.e2e.release import ready_pods
from toolkit.process import run

pytestmark = [pytest.mark.timeout(420), pytest.mark.usefixtures("quiet")]


def upgrade(stack: up.Stack, image: Built) -> None:
    run(stack.service.upgrade_command(image), log="e2e-upgrade")


@pytest.fixture(autouse=True)
def settled(stack: up.Stack, apps: client.AppsV1Api, core: client.CoreV1Api) -> None:
    """Each scenario begins with a healthy service, and all nodes open. An autouse fixture comes before `quiet`."""
    for node in core.list_node().items:
        if node.spec.unschedulable:
            core.patch_node(node.metadata.name, {"spec": {"unschedulable": False}})
    wait_for("a settled deployment", lambda: deployment_is_settled(apps, core), seconds=120)


def test_upgrade_to_a_new_image_and_back(
    stack: up.Stack,
    web: httpx.Client,
    images: Callable[[str], Built],
    traffic: Callable[[], Load],
    kept: Callable[[Load], None],
    report: Callable[..., None],
) -> None:
    assert versions(web) == {PRESENT}
    image = images("next")
    with ready_pods(stack, NAMESPACE, "links") as ready, under(traffic()) as running:
        started = time.monotonic()
        upgrade(stack, image)
        took = time.monotonic() - started
    report("helm upgrade to a new image", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    kept(running)
    assert min(ready) >= FEWEST, ready
    assert versions(web) == {NEXT}

    with ready_pods(stack, NAMESPACE, "links") as ready, under(traffic()) as running:
        started = time.monotonic()
        rollback = [*stack.cluster.helm, "rollback", "links", "--namespace", NAMESPACE, "--wait", "--timeout", "180s"]
        run(rollback, log="e2e-rollback")
        took = time.monotonic() - started
    report("helm rollback", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    kept(running)
    assert min(ready) >= FEWEST, ready
    assert versions(web) == {PRESENT}
    assert "Rollback" in stack.service.history()[-1]["description"]


def versions(web: httpx.Client) -> set[str]:
    """What the pods say that they are."""
    return {web.get("/").json()["version"] for _ in range(10)}


def test_graceful_deletion_of_a_pod(
    apps: client.AppsV1Api,
    core: client.CoreV1Api,
    traffic: Callable[[], Load],
    kept: Callable[[Load], None],
    report: Callable[..., None],
) -> None:
    with under(traffic()) as running:
        started = time.monotonic()
        name = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items[0].metadata.name
        core.delete_namespaced_pod(name, NAMESPACE)
        wait_for("another pod in its place", lambda: deployment_is_settled(apps, core), seconds=90)
        took = time.monotonic() - started
        assert name not in {p.metadata.name for p in core.list_namespaced_pod(NAMESPACE).items}
    report("graceful deletion of a pod", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    kept(running)


def test_drain_of_one_worker_and_then_the_other(
    stack: up.Stack,
    traffic: Callable[[], Load],
    kept: Callable[[Load], None],
    report: Callable[..., None],
) -> None:
    with under(traffic()) as running:
        started = time.monotonic()
        drain_each_worker(stack, NAMESPACE, "links")
        took = time.monotonic() - started
    report("drain of one worker, then of the other", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    kept(running)
