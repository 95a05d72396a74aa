"""The autoscaler adds pods under load, and removes them after it."""

import time
from collections.abc import Callable

import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.machine import slowness
from toolkit.process import run

# Requests a second: a third of what two cores carry together with cluster and load generator (at 400 some wait for
# seconds), so that a request that fails has failed through the scaling.
RATE = 150
# In percent of the CPU request: more than a pod takes at rest, and less than with that load.
TARGET = 30


def sooner() -> list[str]:
    """The chart waits five calm minutes before it removes a pod, and adds one at 70 % of the CPU request. That is more
    than what comes through an ingress and a cluster on two cores, so the test asks for less; nothing else differs."""
    behavior = "autoscaling.behavior.scaleDown"
    return [
        f"--set=autoscaling.targetCPUUtilizationPercentage={TARGET * slowness():.0f}",
        f"--set={behavior}.stabilizationWindowSeconds=15",
        f"--set={behavior}.policies[0].type=Percent",
        f"--set={behavior}.policies[0].value=100",
        f"--set={behavior}.policies[0].periodSeconds=15",
    ]


@pytest.mark.timeout(480)
@pytest.mark.usefixtures("quiet")
def test_pods_are_added_under_load_and_removed_after_it(
    stack: up.Stack,
    apps: client.AppsV1Api,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    run(stack.service.upgrade_command(stack.image, *sooner()), log="e2e-autoscaling")
    scaler = client.AutoscalingV2Api()
    least = scaler.read_namespaced_horizontal_pod_autoscaler("links", NAMESPACE).spec.min_replicas

    def ready() -> int:
        return apps.read_namespaced_deployment("links", NAMESPACE).status.ready_replicas or 0

    wait_for("the smallest number of pods", lambda: ready() == least, seconds=180)
    with load(RATE) as running:
        started = time.monotonic()
        wait_for("one more pod, ready", lambda: ready() > least, seconds=120)
        up_took = time.monotonic() - started
    most = ready()
    report("the autoscaler adds pods under load", running.result, seconds=up_took, note=f"{least} to {most} pods")
    assert running.result.failed == 0, running.result.reasons()

    started = time.monotonic()
    wait_for("the smallest number of pods again", lambda: ready() == least, seconds=180)
    report("the autoscaler removes them after it", seconds=time.monotonic() - started, note=f"to {least} pods")
    # As the other tests expect it.
    run(stack.service.upgrade_command(stack.image), log="e2e-autoscaling")
