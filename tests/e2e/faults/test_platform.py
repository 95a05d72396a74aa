"""What is around the service fails: names, the control plane, the metrics that it is scaled by."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE, RELEASE
from tests.e2e import causes
from tests.e2e.cluster import wait_for
from tests.e2e.faults import harm
from tests.e2e.faults.conftest import RATE, Autoscaler, Fault
from tests.e2e.faults.servers import LOG
from tests.e2e.faults.watch import CUT, UNANSWERED
from tests.e2e.load import WRITE_FAILED
from tests.e2e.pods import FEWEST, kill, management, pod_names
from tests.e2e.prometheus import query
from toolkit.process import CommandFailed, output, run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
AWAY_SECONDS = 60
SCALED = FEWEST + 1
# How a request ends whose connection is broken, or is not taken.
BROKEN = tuple(
    f"{which}{error}"
    for which in ("", WRITE_FAILED)
    for error in (
        "ServerDisconnectedError",
        "ClientConnectorError",
        "ClientConnectorCertificateError",
        "ClientOSError",
        "ConnectionResetError",
    )
)
# What is asked of a node that says nothing any more.
# Such requests fill the ingress's limit of those in flight: others are refused meanwhile.
HANGING = (
    "status 429 of the ingress",
    f"{WRITE_FAILED}status 429 of the ingress",
    *UNANSWERED,
    "status 502 of the ingress",
    "status 504 of the ingress",
    f"{WRITE_FAILED}status 504 of the ingress",
    *CUT,
)


def resolves(stack: up.Stack, pod: str) -> bool:
    """Whether a pod finds the database's address."""
    look = ["python3", "-c", "import socket; socket.getaddrinfo('postgresql.data.svc', 5432)"]
    try:
        output([*stack.cluster.kubectl, "--namespace", NAMESPACE, "exec", pod, "--", *look])
    except CommandFailed:
        return False
    return True


def test_names_cannot_be_resolved(stack: up.Stack, core: client.CoreV1Api, fault: Fault) -> None:
    """Half a minute without DNS, until it has started again: what is connected stays so."""
    pods = pod_names(core)
    assert resolves(stack, pods[0])
    with fault("names cannot be resolved", stays=True) as watch:
        with causes.stopped(stack, "kube-system", "deployment/coredns"):
            wait_for("no names", lambda: not resolves(stack, pods[0]))
            watch.load.go_on(AWAY_SECONDS / 2)
            assert not resolves(stack, pods[0])
            assert all('"database":"ok"' in management(core, pod, "readyz") for pod in pods)
        watch.over()


def test_the_control_plane_is_gone(stack: up.Stack, fault: Fault) -> None:
    """Under a third of the load: when all of it starts again, it takes both cores, which the service shares with it."""
    with fault("API server, controllers and scheduler gone", stays=True, rate=RATE / 3) as watch:
        with harm.no_control_plane(stack):
            watch.load.go_on(AWAY_SECONDS)
        watch.over()


def test_the_metrics_pipeline_is_gone(
    stack: up.Stack, apps: client.AppsV1Api, autoscaler: Autoscaler, fault: Fault
) -> None:
    """The autoscaler wants fewer pods as soon as it knows how busy they are: without knowing, it removes none."""

    def replicas() -> int:
        return int(apps.read_namespaced_deployment(RELEASE, NAMESPACE).status.ready_replicas or 0)

    def blind() -> bool:
        status = client.AutoscalingV2Api().read_namespaced_horizontal_pod_autoscaler(RELEASE, NAMESPACE).status
        return any(each.type == "ScalingActive" and each.status == "False" for each in status.conditions)

    autoscaler.at_least(SCALED)
    wait_for(f"{SCALED} pods", lambda: replicas() >= SCALED, seconds=120)
    most = replicas()
    with fault("metrics pipeline gone", stays=True) as watch:
        with ExitStack() as afterwards:
            for name, deployment in (("monitoring", "prometheus-adapter"), ("kube-system", "metrics-server")):
                afterwards.enter_context(causes.stopped(stack, name, f"deployment/{deployment}"))
            wait_for("an autoscaler that knows nothing", blind, seconds=120)
            autoscaler.at_least(FEWEST)
            watch.load.go_on(AWAY_SECONDS)
            assert replicas() == most
        watch.over()
        wait_for("fewer pods, once it knows", lambda: replicas() < most, seconds=180)


@pytest.fixture
def worker(stack: up.Stack, core: client.CoreV1Api) -> Iterator[str]:
    """A node with pods of the service. It is there again afterwards."""
    found = str(core.read_namespaced_pod(pod_names(core)[0], NAMESPACE).spec.node_name)
    assert found != stack.cluster.control_plane
    yield found
    with suppress(CommandFailed):  # it is not paused where the test has come to its end
        output(["docker", "unpause", found])
    output(["docker", "start", found])
    run([*stack.cluster.kubectl, "wait", f"node/{found}", "--for=condition=Ready", "--timeout=180s"], log=LOG)
    wait_for("Prometheus to reach it", lambda: bool(query(stack, f'up{{job="kubelet",node="{found}"}} == 1')))


def test_a_node_stops(worker: str, fault: Fault) -> None:
    """It is paused, so that its connections stay open and nothing answers; then killed."""
    with fault("a node stops answering, then is gone", may_fail=HANGING, recovers=20) as watch:
        watch.over()  # nobody mends it: this is from where the service has to recover
        output(["docker", "pause", worker])
        watch.load.go_on(45)
        output(["docker", "unpause", worker])
        output(["docker", "kill", worker])
        watch.load.go_on(15)


@pytest.fixture
def two_ingresses(stack: up.Stack) -> Iterator[list[str]]:
    """kubectl, where there are two of Traefik."""
    kubectl = [*stack.cluster.kubectl, "--namespace", "ingress"]
    scale = [*kubectl, "scale", "deployment/traefik"]
    status = [*kubectl, "rollout", "status", "deployment/traefik", "--timeout=120s"]
    for command in ([*scale, "--replicas=2"], status):
        run(command, log=LOG)
    yield kubectl
    for command in ([*scale, "--replicas=1"], status):
        run(command, log=LOG)


def test_the_ingress_is_rolled(stack: up.Stack, fault: Fault) -> None:
    rollout = [*stack.cluster.kubectl, "--namespace", "ingress", "rollout"]
    with fault("the ingress controller rolled", stays=True):
        run([*rollout, "restart", "deployment/traefik"], log=LOG)
        run([*rollout, "status", "deployment/traefik", "--timeout=120s"], log=LOG)


def test_one_ingress_is_killed(two_ingresses: list[str], core: client.CoreV1Api, fault: Fault) -> None:
    """What it had in hand is gone. New connections go to it until its node has noticed, and then to the one that is
    started in its place, before that has read its certificates."""
    pod = core.list_namespaced_pod("ingress").items[0]
    with fault("one of two ingress controllers killed", may_fail=BROKEN, recovers=10, stays=True) as watch:
        kill(pod)
        watch.over()
        run([*two_ingresses, "rollout", "status", "deployment/traefik", "--timeout=120s"], log=LOG)
