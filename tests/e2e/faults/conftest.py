"""Each scenario runs RUNS times (environment; once where it is not set) under RATE requests a second, on a service that
is well.

A module says with a RUNS of its own that its scenarios run so often whatever was asked for.
"""

import math
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE, RELEASE
from keel.data.shared_cache import MARK_SECONDS
from tests.e2e import database
from tests.e2e.cluster import wait_for
from tests.e2e.conftest import REPORTS
from tests.e2e.faults.watch import Watch
from tests.e2e.load import Load, lost, under
from tests.e2e.pods import STALE_SECONDS, deployment_is_settled, restarts
from tests.e2e.reports import busy_seconds
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback


def positive(name: str, otherwise: float) -> float:
    """A number of the environment. Ends the run with a sentence if it is none, or not above 0."""
    text = os.environ.get(name, str(otherwise))
    with suppress(ValueError):
        if 0 < (number := float(text)) < math.inf:
            return number
    sys.exit(f"{name} must be a number above 0, not {text!r}")


RUNS = math.ceil(positive("RUNS", 1))
SOAK_SECONDS = positive("SOAK_SECONDS", 600)
# Requests a second, with a write in each twenty. With every change half of what `make faults` sends: that is as much as
# two cores carry beside a rollout.
RATE = positive("RATE", 75)
CALM_SECONDS = 2.0
CALM_CORES = 1.2  # busy at most, before a scenario begins
Fault = Callable[..., AbstractContextManager[Watch]]
Create = Callable[..., httpx.Response]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "run" in metafunc.fixturenames:
        metafunc.parametrize("run", range(1, getattr(metafunc.module, "RUNS", RUNS) + 1))


@pytest.fixture(autouse=True)
def settled(stack: up.Stack, apps: client.AppsV1Api, core: client.CoreV1Api) -> None:
    """All nodes are open, and all pods are there. An autouse fixture comes before `quiet`."""
    for node in core.list_node().items:
        if node.spec.unschedulable:
            core.patch_node(node.metadata.name, {"spec": {"unschedulable": False}})
    # The autoscaler waits for five calm minutes before it removes what a test before has made it add.
    wait_for("a settled deployment", lambda: deployment_is_settled(apps, core), seconds=400)
    # What the scenario before has had started is no part of this one.
    wait_for("a calm machine", calm, seconds=120)


def calm() -> bool:
    before = busy_seconds()
    time.sleep(CALM_SECONDS)
    return busy_seconds() - before <= CALM_CORES * CALM_SECONDS


# No pod is ever so busy: the autoscaler wants the fewest.
NEVER = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 10**6}},
}


class Autoscaler:
    """What it is told. It then removes pods without its usual wait."""

    def __init__(self) -> None:
        self._api = client.AutoscalingV2Api()
        before = self._api.read_namespaced_horizontal_pod_autoscaler(RELEASE, NAMESPACE).spec
        self._before: dict[str, Any] = client.ApiClient().sanitize_for_serialization(before)

    def at_least(self, count: int) -> None:
        self._patch({"minReplicas": count})

    def exactly(self, count: int) -> None:
        """However busy they are."""
        self._patch({"minReplicas": count, "metrics": [NEVER]})

    def restore(self) -> None:
        self._api.patch_namespaced_horizontal_pod_autoscaler(RELEASE, NAMESPACE, {"spec": self._before})

    def _patch(self, spec: dict[str, Any]) -> None:
        most = max(spec["minReplicas"], self._before["maxReplicas"])
        at_once = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        changed = {**spec, "maxReplicas": most, "behavior": at_once}
        self._api.patch_namespaced_horizontal_pod_autoscaler(RELEASE, NAMESPACE, {"spec": changed})


@pytest.fixture
def autoscaler(stack: up.Stack) -> Iterator[Autoscaler]:
    """As before afterwards."""
    del stack  # it is there
    found = Autoscaler()
    yield found
    found.restore()


@pytest.fixture
def stranger(stack: up.Stack) -> Iterator[httpx.Client]:
    """Asks the service, each time on a connection of its own, so that any pod may get it."""
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    with httpx.Client(
        transport=Loopback(trust), base_url=stack.service.url, timeout=20, headers={"Connection": "close"}
    ) as web:
        yield web


@pytest.fixture
def create(stranger: httpx.Client, token: str) -> Create:
    """Makes a page."""
    return lambda token=token: SUBJECT.write(stranger, token)


@pytest.fixture
def page(stranger: httpx.Client, make_page: Callable[[], str]) -> str:
    """The path of something that the caches have: Valkey keeps none that was changed a moment ago."""
    path, made = make_page(), time.monotonic()

    def kept() -> bool:
        answers = [stranger.get(path).status_code for _ in range(10)]
        return answers == [SUBJECT.status] * 10 and time.monotonic() - made > MARK_SECONDS + STALE_SECONDS

    wait_for("something that Valkey keeps", kept)
    return path


@pytest.fixture
def fault(run: int, stack: up.Stack, core: client.CoreV1Api, traffic: Callable[..., Load]) -> Fault:
    """Watches what users meet while the block does its harm, and asserts what a scenario promises of it."""

    @contextmanager
    def watch(
        scenario: str,
        *,
        may_fail: tuple[str, ...] = (),
        recovers: float = 0.0,
        stays: bool = False,
        rate: float = RATE,
        stored: Callable[[str], str] = lambda statement: database.sql(stack, statement),
    ) -> Iterator[Watch]:
        """`rate` is in requests a second, and `may_fail` are reasons. `recovers` is in seconds from Watch.over, or else
        the block's end, to the last failure. `stays` says that no pod may be replaced or restarted, and `stored` asks
        the database."""
        before = restarts(core)
        watched = Watch(traffic(rate))
        passed = False
        try:
            with under(watched.load):
                watched.begin()
                try:
                    yield watched
                finally:
                    watched.ended = watched.ended or time.monotonic()
            watched.lost = lost(watched.load, stored)
            watched.judge(may_fail, recovers)
            after = restarts(core)
            if stays and any(after.get(pod, count) != count for pod, count in before.items()):
                watched.troubles.append(f"pods were restarted: {before} became {after}")
            if stays and not before.keys() & after.keys():
                watched.troubles.append("all pods were replaced")
            passed = not watched.troubles
        finally:
            REPORTS.faults.append(watched.record(scenario, run, passed=passed))
        assert watched.troubles == []

    return watch
