"""What operations do to a healthy service, done to images that are not ours: on this chart none of it fails a request.

podinfo comes on its own chart, too, so that a reader can compare: what it costs there is reported, and not judged. With
IMAGE=REPOSITORY@DIGEST and VALUES=FILE the same is done to an image of one's own, asked for ASKED (/ if not set).
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from kubernetes import client

from k8s import up
from k8s.service import GATEWAY_HOST
from tests.e2e.cluster import wait_for
from tests.e2e.conftest import REPORTS
from tests.e2e.faults.conftest import RATE
from tests.e2e.faults.watch import Watch
from tests.e2e.load import SETTLE_SECONDS, Load, under
from tests.e2e.peer import podinfo
from tests.e2e.pods import drain_each_worker, kill
from tests.e2e.release import answers, apply
from toolkit.paths import CHART
from toolkit.process import output, run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
VALUES = Path(podinfo.__file__).parent
LOG = "e2e-any-image"
SETTLED_SECONDS = 120


@dataclass(frozen=True)
class Release:
    """An image on a chart, in a namespace of its name; `judged` where nothing of it may fail."""

    stack: up.Stack
    name: str
    said: str
    chart: Path
    options: list[str]
    judged: bool = True
    path: str = "/"

    @property
    def url(self) -> str:
        return f"https://{self.name}.{GATEWAY_HOST}:{self.stack.cluster.ports['https']}{self.path}"

    @property
    def kubectl(self) -> list[str]:
        return [*self.stack.cluster.kubectl, "--namespace", self.name]

    def install(self) -> None:
        apply(self.stack, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}})
        argv = [*self.stack.cluster.helm, "install", self.name, str(self.chart), "--namespace", self.name]
        named = f"--set-string=fullnameOverride={self.name}"
        run([*argv, named, *self.options, "--wait", f"--timeout={SETTLED_SECONDS}s"], log=LOG)
        wait_for("its pods", self.settled, seconds=SETTLED_SECONDS)
        wait_for("the route", partial(answers, self.url, self.stack), seconds=30)

    def uninstall(self) -> None:
        output([*self.stack.cluster.kubectl, "delete", "namespace", self.name, "--wait"])

    def pods(self) -> list[client.V1Pod]:
        """Those of the Deployment, and not of a Job; also those that end."""
        found = client.CoreV1Api().list_namespaced_pod(self.name).items
        return [
            pod for pod in found if any(owner.kind == "ReplicaSet" for owner in pod.metadata.owner_references or [])
        ]

    def deployment(self) -> client.V1Deployment:
        return client.AppsV1Api().read_namespaced_deployment(self.name, self.name)

    def settled(self) -> bool:
        found = self.deployment()
        counts = {found.status.updated_replicas, found.status.ready_replicas, len(self.pods()), found.spec.replicas}
        return found.status.observed_generation == found.metadata.generation and len(counts) == 1


def restart(release: Release, load: Load) -> None:
    del load
    rollout, deployment = [*release.kubectl, "rollout"], f"deployment/{release.name}"
    run([*rollout, "restart", deployment], log=LOG)
    run([*rollout, "status", deployment, "--timeout=180s"], log=LOG)


def delete(release: Release, load: Load) -> None:
    del load
    for pod in release.pods():
        client.CoreV1Api().delete_namespaced_pod(pod.metadata.name, release.name)
        wait_for("another pod in its place", release.settled, seconds=SETTLED_SECONDS)


def sigkill(release: Release, load: Load) -> None:
    def restarted(name: str, count: int) -> bool:
        (status,) = client.CoreV1Api().read_namespaced_pod(name, release.name).status.container_statuses
        return bool(status.restart_count > count and status.ready)

    for pod in release.pods():
        kill(pod)
        (before,) = pod.status.container_statuses
        wait_for("a restarted pod", partial(restarted, pod.metadata.name, before.restart_count), seconds=60)
        load.go_on(SETTLE_SECONDS)


def drain(release: Release, load: Load) -> None:
    del load
    drain_each_worker(release.stack, release.name, release.name)


HARMS: dict[str, Callable[[Release, Load], None]] = {
    "rolling restart": restart,
    "graceful deletion of each pod": delete,
    "SIGKILL of each pod's process, one by one": sigkill,
    "drain of one worker, then of the other": drain,
}


@dataclass
class Releases:
    """Those that there are, each installed when it is asked for, and removed when another one is."""

    stack: up.Stack
    context: Callable[[str], Path]
    _now: list[Release] = field(default_factory=list)

    def of(self, kind: str) -> Release:
        if self._now and self._now[0].name == kind:
            return self._now[0]
        self.close()
        release = self._own() if kind == "yours" else self._podinfo(kind)
        self._now.append(release)
        try:
            release.install()
        except BaseException:
            self.close()  # the next one tries again
            raise
        return release

    def close(self) -> None:
        while self._now:
            self._now.pop().uninstall()

    def _podinfo(self, kind: str) -> Release:
        image = podinfo.image(self.stack.registry, self.context("podinfo"))
        if kind == "podinfo-here":
            named = f"--set-string=image.repository={image.repository},image.digest={image.digest}"
            options = [f"--values={VALUES / 'on-this-chart.yaml'}", named]
            return Release(self.stack, kind, "podinfo on this chart", CHART, options)
        named = f"--set-string=image.repository={image.repository},image.tag={podinfo.RELEASE}@{image.digest}"
        options = [f"--values={VALUES / 'on-its-own-chart.yaml'}", named]
        return Release(self.stack, kind, "podinfo on its own chart", podinfo.chart(), options, judged=False)

    def _own(self) -> Release:
        repository, _, digest = IMAGE.partition("@")
        host = f"yours.{GATEWAY_HOST}"
        options = [
            f"--values={OWN_VALUES}",
            f"--set-string=image.repository={repository},image.digest={digest}",
            f"--set=ingress.enabled=true,ingress.hosts[0].host={host},traefik.retry.enabled=true",
        ]
        return Release(self.stack, "yours", repository, CHART, options, path=os.environ.get("ASKED", "/"))


IMAGE, OWN_VALUES = os.environ.get("IMAGE", ""), os.environ.get("VALUES", "")
if IMAGE and ("@sha256:" not in IMAGE or not Path(OWN_VALUES).is_file()):
    sys.exit("IMAGE must be REPOSITORY@sha256:DIGEST, and VALUES a file with the chart's values for it")
KINDS = ["yours"] if IMAGE else ["podinfo-here", "podinfo-own"]


@pytest.fixture(scope="module")
def releases(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    found = Releases(stack, tmp_path_factory.mktemp)
    yield found
    found.close()


@contextmanager
def watched(release: Release, harm: str, run: int) -> Iterator[Watch]:
    watch = Watch(Load(release.url, release.stack.service.authority.certificate, expected=200, rate=RATE))
    passed = False
    try:
        with under(watch.load):
            watch.begin()
            try:
                yield watch
            finally:
                watch.ended = time.monotonic()
        # Of what is only reported every failure is allowed, but not that too little was sent.
        reasons = () if release.judged else tuple({reason for _, reason in watch.result.failures})
        watch.judge(reasons, 0 if release.judged else float("inf"))
        passed = not watch.troubles
    finally:
        REPORTS.others.append(watch.record(f"{release.said}: {harm}", run, passed=passed))
    assert watch.troubles == []


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_operations_do(run: int, kind: str, harm: str, releases: Releases) -> None:
    release = releases.of(kind)
    wait_for("its pods", release.settled, seconds=SETTLED_SECONDS)
    with watched(release, harm, run) as watch:
        HARMS[harm](release, watch.load)
