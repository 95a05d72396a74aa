"""A release of the chart with an image that is not ours, in a namespace of its own."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes import client

from k8s import up
from k8s.service import GATEWAY_HOST
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from toolkit.paths import CHART
from toolkit.process import output

ROLLOUT_SECONDS = 120


@dataclass
class Release:
    """One Helm release; nothing is set but the image and what a call gives."""

    stack: up.Stack
    namespace: str
    image: Built

    @property
    def name(self) -> str:
        return self.namespace

    @property
    def host(self) -> str:
        return f"{self.name}.{GATEWAY_HOST}"

    @property
    def _image(self) -> list[str]:
        return ["--set-string", f"image.repository={self.image.repository},image.digest={self.image.digest}"]

    def helm(self, command: str, *arguments: str) -> str:
        """Raises CommandFailed with what Helm said."""
        return output([*self.stack.cluster.helm, command, self.name, *arguments, "--namespace", self.namespace])

    def install(self, *options: str, chart: Path = CHART) -> str:
        return self.helm("install", str(chart), *self._image, *options, "--wait", f"--timeout={ROLLOUT_SECONDS}s")

    def upgrade(self, *options: str) -> str:
        return self.helm("upgrade", str(CHART), *self._image, *options, "--wait", f"--timeout={ROLLOUT_SECONDS}s")

    def deployment(self) -> client.V1Deployment:
        (found,) = client.AppsV1Api().list_namespaced_deployment(self.namespace).items
        return found

    def wait_ready(self, count: int) -> None:
        def ready() -> bool:
            return int(self.deployment().status.ready_replicas or 0) == count

        wait_for(f"{count} ready pods", ready, seconds=90, every=0.1)

    def address(self) -> str:
        """The release's URL through the Gateway, once it is routed there. The chart's own route is another matter."""
        rule = {"backendRefs": [{"name": self.deployment().metadata.name, "port": 80}]}
        gateway = {"name": "traefik", "namespace": "ingress"}
        apply(
            self.stack,
            {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "HTTPRoute",
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {"parentRefs": [gateway], "hostnames": [self.host], "rules": [rule]},
            },
        )
        url = f"https://{self.host}:{self.stack.cluster.ports['https']}/"
        wait_for("the route", lambda: answers(url, self.stack), seconds=30)
        return url

    def load(self, url: str) -> Load:
        return Load(url, self.stack.service.authority.certificate, expected=200)

    def everything(self) -> list[str]:
        """Every object of the release in the whole cluster, of whatever kind."""
        kubectl = self.stack.cluster.kubectl
        kinds = output([*kubectl, "api-resources", "--verbs=list", "--output=name"]).split()
        # Metrics and events are no objects that anyone makes.
        kinds = [kind for kind in kinds if not kind.endswith("metrics.k8s.io") and not kind.startswith("events")]
        selector = f"--selector=app.kubernetes.io/instance={self.name}"
        return output([*kubectl, "get", ",".join(kinds), "--all-namespaces", selector, "--output=name"]).split()


def apply(stack: up.Stack, manifest: dict[str, object]) -> None:
    stack.cluster.apply(json.dumps(manifest), "e2e-chart")


def answers(url: str, stack: up.Stack) -> bool:
    """Whether the ingress sends all requests to it by now."""
    with Load(url, stack.service.authority.certificate, expected=200) as once:
        once.sent_at_least(20)
    return once.result.failed == 0


@contextmanager
def ready_pods(stack: up.Stack, namespace: str, name: str) -> Iterator[list[int]]:
    """While the block runs, every number of ready pods that a Deployment has had: `min()` of it was the fewest.

    Ready pods are those that get requests. The API server tells each change, in order; nothing falls between two looks.
    """
    seen: list[int] = []
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments?watch=1&fieldSelector=metadata.name={name}"
    watch = subprocess.Popen([*stack.cluster.kubectl, "get", "--raw", path], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert watch.stdout
        with watch.stdout as lines:
            for line in lines:
                seen.append(json.loads(line)["object"]["status"].get("readyReplicas", 0))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_for("the first look at the deployment", lambda: bool(seen), seconds=20, every=0.1)
        yield seen
        assert watch.poll() is None, "the watch has ended: nothing was proven"
    finally:
        watch.terminate()
        watch.wait(20)
        reader.join()
