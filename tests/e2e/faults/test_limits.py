"""One who takes too much harms nobody else: clients that hold connections, and a pod that has filled its disk."""

import socket
from contextlib import ExitStack, suppress
from functools import partial

import pytest
from kubernetes import client

from k8s import up
from k8s.service import HOST, NAMESPACE
from tests.e2e.cluster import wait_for
from tests.e2e.faults.conftest import Fault
from tests.e2e.faults.watch import CUT, UNANSWERED
from tests.e2e.pods import deployment_is_settled, pod_names
from tests.e2e.web import trust_of
from toolkit.process import CommandFailed, output

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
HELD = 1000
HELD_SECONDS = 20
# Each has begun a request and does not go on.
BEGUN = f"GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ".encode()
# More than `tmp.sizeLimit` of the chart.
FILL = "open('/tmp/full', 'wb').write(b'x' * (100 << 20))"


def test_a_thousand_slow_clients(stack: up.Stack, fault: Fault) -> None:
    """Through the ingress, which waits for them."""
    trust = trust_of(stack.service.authority.certificate)
    address = ("127.0.0.1", stack.cluster.ports["https"])
    with fault(f"{HELD:,} clients that do not go on", stays=True) as watch:
        with ExitStack() as held:
            for _ in range(HELD):
                plain = held.enter_context(socket.create_connection(address, timeout=10))
                connection = held.enter_context(trust.wrap_socket(plain, server_hostname=HOST))
                connection.sendall(BEGUN)
            watch.load.go_on(HELD_SECONDS)
        watch.over()


def test_a_pod_has_filled_its_disk(
    stack: up.Stack, apps: client.AppsV1Api, core: client.CoreV1Api, fault: Fault
) -> None:
    """Kubernetes ends it at once, and there is another. Nobody answers, or refuses, what was sent to it meanwhile."""
    name = pod_names(core)[0]
    fill = ["--namespace", NAMESPACE, "exec", name, "--", "python3", "-c", FILL]
    with fault("a pod's disk full", may_fail=(*CUT, *UNANSWERED)):
        with suppress(CommandFailed):  # ended meanwhile
            output([*stack.cluster.kubectl, *fill])
        wait_for("the end of the pod", partial(evicted, core, name), seconds=120)
        core.delete_namespaced_pod(name, NAMESPACE)  # what is left of it
        wait_for("another pod in its place", lambda: deployment_is_settled(apps, core), seconds=120)


def evicted(core: client.CoreV1Api, name: str) -> bool:
    status = core.read_namespaced_pod(name, NAMESPACE).status
    return bool(status.phase == "Failed" and status.reason == "Evicted")
