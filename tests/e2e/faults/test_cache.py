"""Whatever becomes of Valkey costs no request: each pod goes on with what it has, and asks the database for more."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kubernetes import client

from k8s import up
from tests.e2e import causes
from tests.e2e.cluster import wait_for
from tests.e2e.faults import harm
from tests.e2e.faults.conftest import Fault
from tests.e2e.faults.watch import Watch
from tests.e2e.machine import slowness
from tests.e2e.pods import management, pod_names

pytestmark = pytest.mark.timeout(600)
NORMAL_SECONDS = 10
AWAY_SECONDS = 20
SLOW_SECONDS = 0.1  # each way
TIMES = 3  # as long as normally, at most
# What is faster than that is not measured: of a p99 of some milliseconds, three times is noise.
FAST_SECONDS = 0.15
SHARED_AGAIN_SECONDS = 10


@pytest.fixture
def harmed(fault: Fault, core: client.CoreV1Api) -> Fault:
    """Watches as `fault` does, and asserts that requests hardly take longer, and that limits are shared again."""

    @contextmanager
    def watch(scenario: str) -> Iterator[Watch]:
        with fault(scenario, stays=True) as watched:
            watched.load.go_on(NORMAL_SECONDS)
            yield watched
            watched.over()
            wait_for("shared limits", lambda: not alone(core), seconds=SHARED_AGAIN_SECONDS * slowness())
        normal, slow = (watched.quantile(0.99, before=before) for before in (True, False))
        assert slow <= max(TIMES * normal, FAST_SECONDS * slowness()), (normal, slow)

    return watch


def alone(core: client.CoreV1Api) -> set[str]:
    """Pods that keep rate limits of their own, as they cannot share them."""
    return {pod for pod in pod_names(core) if "rate_limit_fallback 1.0" in management(core, pod, "metrics")}


def test_it_is_gone(stack: up.Stack, core: client.CoreV1Api, harmed: Fault) -> None:
    with harmed("Valkey gone") as watch, causes.stopped(stack, "data", "deployment/valkey"):
        watch.begin()
        wait_for("every pod knows", lambda: alone(core) >= set(pod_names(core)))
        wait_for(
            "every pod says so", lambda: all("degraded" in management(core, pod, "readyz") for pod in pod_names(core))
        )
        watch.load.go_on(AWAY_SECONDS)


@pytest.mark.nightly
def test_it_is_slow(stack: up.Stack, harmed: Fault) -> None:
    def reconnect() -> None:
        harm.valkey(stack, "CLIENT", "KILL", "TYPE", "normal")

    with harmed("Valkey slow (200 ms)") as watch, harm.detour(stack, "valkey", 6379, SLOW_SECONDS, reconnect):
        watch.begin()
        watch.load.go_on(AWAY_SECONDS)


@pytest.mark.nightly
def test_it_is_full(stack: up.Stack, harmed: Fault) -> None:
    """It takes nothing more, and forgets nothing."""
    _, most = harm.valkey(stack, "CONFIG", "GET", "maxmemory").split()
    _, policy = harm.valkey(stack, "CONFIG", "GET", "maxmemory-policy").split()
    with harmed("Valkey full") as watch:
        try:
            harm.valkey(stack, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
            assert "OOM" in harm.valkey(stack, "SET", "full", "yes")
            watch.begin()
            watch.load.go_on(AWAY_SECONDS)
        finally:
            harm.valkey(stack, "CONFIG", "SET", "maxmemory-policy", policy, "maxmemory", most)


@pytest.mark.nightly
def test_it_is_a_replica(stack: up.Stack, harmed: Fault) -> None:
    """It takes no writes, as after a failover that its clients have not heard of."""
    with harmed("Valkey read-only") as watch:
        try:
            harm.valkey(stack, "REPLICAOF", "127.0.0.1", "1")
            assert "READONLY" in harm.valkey(stack, "SET", "replica", "yes")
            watch.begin()
            watch.load.go_on(AWAY_SECONDS)
        finally:
            harm.valkey(stack, "REPLICAOF", "NO", "ONE")
