"""The chart with an image that is not ours: installed with nothing else set, and then with what people set.

Another image starts sooner than the service and needs no database: what is proven is the chart's own.
"""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from k8s import up
from offline.image_build import Built
from tests.e2e.cluster import wait_for
from tests.e2e.load import assert_lost_nothing, note, under
from tests.e2e.machine import slowness
from tests.e2e.pods import FEWEST
from tests.e2e.release import Release, answers, apply, ready_pods
from toolkit.process import CommandFailed, output, run, succeeds

pytestmark = pytest.mark.timeout(420)
READY_SECONDS = 30  # at full speed
EARLIER = Path(__file__).with_name("earlier")


@pytest.fixture
def release(stack: up.Stack, foreign: Built) -> Iterator[Release]:
    """Not installed yet, in a cold namespace that admits only Pods by the Pod Security Standard "restricted"."""
    name = f"plain-{uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(stack, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield Release(stack, name, foreign)
    # Nobody waits for its end: the next has another name.
    run([*stack.cluster.kubectl, "delete", "namespace", name, "--wait=false"], log="e2e-chart")


def test_with_nothing_set_but_the_image(release: Release, report: Callable[..., None]) -> None:
    """Ready in time, tested by Helm, and gone without a trace."""
    allowed = READY_SECONDS * slowness()
    started = time.monotonic()
    release.install()
    # The autoscaler makes three of the one that it finds.
    release.wait_ready(FEWEST)
    took = time.monotonic() - started
    report("helm install in a cold namespace, to three ready pods", seconds=took, note=f"{allowed:.0f} s allowed")
    assert took < allowed

    release.helm("test", "--timeout=60s")

    assert release.everything()
    release.helm("uninstall", "--wait")
    wait_for("nothing left of the release", lambda: not release.everything(), seconds=60)
    report("helm uninstall leaves nothing behind")


@pytest.mark.nightly
def test_upgrade_from_the_chart_before_and_back(release: Release, report: Callable[..., None]) -> None:
    release.install(chart=EARLIER)
    release.wait_ready(FEWEST)
    url = release.address()
    name = release.deployment().metadata.name
    with ready_pods(release.stack, release.namespace, name) as ready, under(release.load(url)) as running:
        started = time.monotonic()
        release.upgrade()
        release.helm("rollback", "--wait", "--timeout=120s")
        took = time.monotonic() - started
    report("upgrade from the chart's version before, and rollback", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    assert min(ready) >= FEWEST, ready


@pytest.mark.nightly
def test_who_says_how_many_pods_there_are(release: Release, report: Callable[..., None]) -> None:
    """A number by hand stays, another one asked for is a conflict that can be forced, and autoscaling takes over what
    it finds (docs/decisions/0008-replicas.md)."""
    fixed = "--set=autoscaling.enabled=false"
    release.install(fixed, "--set=replicas=2")
    release.wait_ready(2)
    name = release.deployment().metadata.name
    kubectl = [*release.stack.cluster.kubectl, "--namespace", release.namespace]

    output([*kubectl, "scale", f"deployment/{name}", "--replicas=3"])
    said = release.upgrade(fixed, "--set=replicas=2", "--set-string=podAnnotations.change=first")
    assert release.deployment().spec.replicas == 3
    assert "Somebody has set 3 pods by hand, and this was kept." in said

    with pytest.raises(CommandFailed, match=r"conflict .*spec\.replicas"):
        release.upgrade(fixed, "--set=replicas=4")
    assert release.deployment().spec.replicas == 3
    release.upgrade(fixed, "--set=replicas=4", "--force-conflicts")
    release.wait_ready(4)

    scaled = ["--set=autoscaling.minReplicas=2", "--set=autoscaling.maxReplicas=5"]
    with ready_pods(release.stack, release.namespace, name) as ready:
        for change in ("second", "third"):
            release.upgrade(*scaled, f"--set-string=podAnnotations.change={change}")
    assert min(ready) >= 4, ready
    report("autoscaling turned on over a fixed number: no pod fewer", note=f"{min(ready)} at the fewest")


def test_a_release_applied_by_the_client_is_not_dropped_to_one_pod(release: Release) -> None:
    fixed = "--set=autoscaling.enabled=false"
    by_client = "--server-side=false"
    release.install(fixed, by_client)
    release.wait_ready(FEWEST)
    with pytest.raises(CommandFailed, match="first upgrade it as it is with --server-side=true"):
        release.upgrade(by_client)
    release.upgrade(fixed, "--server-side=true")
    name = release.deployment().metadata.name
    with ready_pods(release.stack, release.namespace, name) as ready:
        release.upgrade("--server-side=true")
    assert min(ready) >= FEWEST, ready


def test_the_chart_s_own_route(release: Release) -> None:
    """An HTTPRoute with Traefik's retry as its filter; the Gateway has the certificate."""
    release.install(
        "--set=httpRoute.enabled=true,traefik.retry.enabled=true",
        f"--set=httpRoute.hostnames[0]={release.host}",
        "--set=httpRoute.parentRefs[0].name=traefik,httpRoute.parentRefs[0].namespace=ingress",
    )
    url = f"https://{release.host}:{release.stack.cluster.ports['https']}/"
    wait_for("the route", lambda: answers(url, release.stack), seconds=30)


def test_a_certificate_of_its_own_is_kept(release: Release, tmp_path: Path) -> None:
    """`ingress.selfSigned`: made once, served by the ingress, and the same after an upgrade."""
    host = "trial.localhost"
    values = ["--set=ingress.enabled=true,ingress.selfSigned=true", f"--set=ingress.hosts[0].host={host}"]
    release.install(*values)
    made = secret(release)
    release.upgrade(*values, "--set-string=podAnnotations.change=first")
    assert secret(release) == made
    authority = tmp_path / "tls.crt"
    authority.write_bytes(base64.b64decode(made["tls.crt"]))
    port = release.stack.cluster.ports["https"]
    curl = ["curl", "--silent", "--fail", "--resolve", f"{host}:{port}:127.0.0.1", "--cacert", str(authority)]
    # Until the ingress has read it, it answers with another certificate, which curl refuses.
    wait_for("the certificate to be served", lambda: succeeds([*curl, f"https://{host}:{port}/"]), seconds=30)


def secret(release: Release) -> dict[str, str]:
    """The data of the release's certificate."""
    kubectl = [*release.stack.cluster.kubectl, "--namespace", release.namespace]
    name = f"{release.deployment().metadata.name}-tls"
    path = "jsonpath={.data.tls\\.crt} {.data.tls\\.key}"
    certificate, key = output([*kubectl, "get", "secret", name, f"--output={path}"]).split()
    return {"tls.crt": certificate, "tls.key": key}
