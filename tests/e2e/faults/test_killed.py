"""A pod that is lost without a word costs no read and no write that was acknowledged.

The ingress sends a request again that a dying process has not answered, and never a POST: such a write is cut.
"""

from functools import partial

import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from tests.e2e.cluster import wait_for
from tests.e2e.faults.conftest import Fault
from tests.e2e.faults.watch import CUT
from tests.e2e.load import SETTLE_SECONDS
from tests.e2e.pods import PODS, deployment_is_settled, kill, starve
from toolkit.process import output

pytestmark = pytest.mark.timeout(600)


def pods(core: client.CoreV1Api) -> list[client.V1Pod]:
    found: list[client.V1Pod] = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    return found


def restarted(core: client.CoreV1Api, pod: client.V1Pod) -> bool:
    (before,) = pod.status.container_statuses
    (now,) = core.read_namespaced_pod(pod.metadata.name, NAMESPACE).status.container_statuses
    return bool(now.restart_count > before.restart_count and now.ready)


def test_sigkill_of_each_pod_s_process(core: client.CoreV1Api, fault: Fault) -> None:
    with fault("SIGKILL of each pod's process, one by one", may_fail=CUT) as watch:
        for pod in pods(core):
            kill(pod)
            wait_for("a restarted pod", partial(restarted, core, pod), seconds=60)
            # Until the ingress has it back, there would be no other to send to.
            watch.load.go_on(SETTLE_SECONDS)


@pytest.mark.nightly
def test_a_pod_s_memory_runs_out(core: client.CoreV1Api, fault: Fault) -> None:
    pod = pods(core)[0]
    (before,) = pod.status.container_statuses

    def out_of_memory() -> bool:
        (status,) = core.read_namespaced_pod(pod.metadata.name, NAMESPACE).status.container_statuses
        if status.restart_count == before.restart_count:
            starve(pod)
            return False
        return bool(status.last_state.terminated.reason == "OOMKilled")

    with fault("a pod's memory runs out", may_fail=CUT):
        wait_for("the end of its process", out_of_memory, seconds=60)
        wait_for("a restarted pod", partial(restarted, core, pod), seconds=60)


@pytest.mark.nightly
def test_forced_deletion(stack: up.Stack, apps: client.AppsV1Api, core: client.CoreV1Api, fault: Fault) -> None:
    """As somebody does with a pod that does not end: it is forgotten at once, and killed soon after."""
    delete = ["--namespace", NAMESPACE, "delete", "pod", "--force", "--grace-period=0"]
    with fault("forced deletion of each pod, one by one", may_fail=CUT):
        for pod in pods(core):
            output([*stack.cluster.kubectl, *delete, pod.metadata.name])
            wait_for("another pod in its place", lambda: deployment_is_settled(apps, core), seconds=90)
