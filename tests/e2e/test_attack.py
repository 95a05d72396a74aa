"""The attempts of a stranger (tests/attack), made at the cluster: through the ingress, and past it at a pod."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from kubernetes import client

from k8s import up
from k8s.service import HOST
from tests.attack.__main__ import AUDIENCE, HELD_SECONDS, ISSUER
from tests.attack.attempts import Tally, run
from tests.attack.groups import ANYWHERE
from tests.attack.target import Target, read_key
from tests.attack.wire import Address
from tests.e2e.cluster import wait_for
from tests.e2e.load import Result
from tests.e2e.pods import PODS
from toolkit.ports import free_port

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(480)]


def target(stack: up.Stack, address: Address) -> Target:
    direct = address.trust is None
    key = read_key(stack.service.dev_key)
    return Target(address, key, ISSUER, AUDIENCE, direct=direct, held_seconds=HELD_SECONDS)


def put(report: Callable[..., None], where: str, tallies: list[Tally]) -> None:
    """Report the counts, and fail with the name of each attempt that got through."""
    through = [f"{tally.group}: {what}" for tally in tallies for what in tally.through]
    result = Result(sum(tally.tried for tally in tallies), [(0.0, what) for what in through])
    note = ", ".join(f"{tally.group} {tally.held} of {tally.tried}" for tally in tallies)
    report(f"attempts of a stranger, {where}", result, note=f"held: {note}")
    assert not through


def restarts(core: client.CoreV1Api) -> dict[str, int]:
    """Of each pod that is to stay."""
    pods = core.list_namespaced_pod("links", label_selector=PODS).items
    return {
        pod.metadata.name: sum(each.restart_count for each in pod.status.container_statuses or [])
        for pod in pods
        if pod.metadata.deletion_timestamp is None
    }


@contextmanager
def past_the_ingress(stack: up.Stack, pod: str) -> Iterator[Target]:
    """A pod at a port of 127.0.0.1 that leads to it."""
    port = free_port()
    command = [*stack.cluster.kubectl, "-n", "links", "port-forward", "--address=127.0.0.1", f"pod/{pod}"]
    # It says a line of each connection.
    with subprocess.Popen([*command, f"{port}:8000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as forward:
        try:
            there = target(stack, Address(port, HOST))
            wait_for("a way to the pod", lambda: there.ask("GET", "/").status == 200, seconds=30)
            there.check()
            yield there
        finally:
            forward.terminate()


def test_through_the_ingress(stack: up.Stack, core: client.CoreV1Api, report: Callable[..., None]) -> None:
    before = restarts(core)
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    there = target(stack, Address(stack.cluster.ports["https"], HOST, trust))
    there.check()
    put(report, "through the ingress", run(ANYWHERE, there))
    after = restarts(core)
    assert all(after[pod] == before[pod] for pod in before.keys() & after.keys()), (before, after)


def test_past_the_ingress_at_a_pod(stack: up.Stack, core: client.CoreV1Api, report: Callable[..., None]) -> None:
    """Without the connections that are held, for minutes: those of a pod and of a service alone are the same ones."""
    tallies = []
    for group in [each for each in ANYWHERE if each[0] != "slow"]:
        # A way of its own for each: one that breaks is not the next one's failure.
        (pod, *_) = restarts(core)
        with past_the_ingress(stack, pod) as there:
            tallies += run([group], there)
    put(report, "past the ingress", tallies)
