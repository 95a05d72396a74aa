"""The chart on a real cluster: installed, tested by Helm, scaled by hand, killed, drained, gone without a trace."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from kubernetes import client

from k8s import up
from k8s.kind.paths import CHART, ROOT
from k8s.kind.process import CommandFailed, log_file, output, run
from k8s.service import GATEWAY_HOST, NAMESPACE, Built
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load
from tests.e2e.test_monitoring import PODS
from tests.e2e.test_zero_downtime import SETTLE, assert_lost_nothing, deployment_is_settled, note, under

pytestmark = pytest.mark.timeout(420)
PLAIN = "plain"
READY_SECONDS = 30
# The last commit with version 0.1.0 of the chart.
BEFORE = "13f9e6d"


def helm(stack: up.Stack, *arguments: str) -> str:
    return output([*stack.cluster.helm, *arguments])


def apply(stack: up.Stack, manifest: dict[str, object]) -> None:
    stack.cluster.apply(json.dumps(manifest), "e2e-chart")


def whatever_is_labelled(stack: up.Stack, release: str) -> list[str]:
    """Every object of the release in the whole cluster, of whatever kind."""
    kubectl = stack.cluster.kubectl
    kinds = output([*kubectl, "api-resources", "--verbs=list", "--output=name"]).split()
    # Metrics and events are no objects that anyone makes.
    kinds = [kind for kind in kinds if not kind.endswith("metrics.k8s.io") and not kind.startswith("events")]
    selector = f"--selector=app.kubernetes.io/instance={release}"
    return output([*kubectl, "get", ",".join(kinds), "--all-namespaces", selector, "--output=name"]).split()


@pytest.fixture
def namespace(stack: up.Stack, core: client.CoreV1Api) -> Iterator[str]:
    """A cold one, in which only Pods by the Pod Security Standard "restricted" are admitted."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(stack, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLAIN, "labels": labels}})
    yield PLAIN
    run([*stack.cluster.kubectl, "delete", "namespace", PLAIN, "--wait"], log="e2e-chart")


def test_another_image_with_nothing_else_set(
    stack: up.Stack,
    namespace: str,
    apps: client.AppsV1Api,
    foreign: Built,
    report: Callable[..., None],
) -> None:
    """An image that is not ours: ready in time, tested by Helm, drained without loss, and gone without a trace."""
    image = ["--set-string", f"image.repository={foreign.repository}", "--set-string", f"image.digest={foreign.digest}"]
    started = time.monotonic()
    helm(stack, "install", PLAIN, str(CHART), "--namespace", namespace, *image, "--wait", "--timeout", "120s")
    # The autoscaler makes three of the one that it finds.
    wait_for("three ready pods", lambda: ready(apps, namespace) == 3, seconds=90, every=0.1)
    took = time.monotonic() - started
    (deployment,) = apps.list_namespaced_deployment(namespace).items
    report("helm install in a cold namespace, to three ready pods", seconds=took, note=f"{READY_SECONDS} s allowed")
    assert took < READY_SECONDS

    helm(stack, "test", PLAIN, "--namespace", namespace, "--timeout", "60s")

    apply(stack, route(namespace, deployment.metadata.name))
    url = f"https://plain.{GATEWAY_HOST}:{stack.cluster.ports['https']}/"
    load = Load(url, stack.service.authority.certificate, expected=200)
    wait_for("the route", lambda: answers(url, stack), seconds=30)
    workers = [n for n in stack.cluster.nodes if n != stack.cluster.control_plane]
    with under(load) as running:
        started = time.monotonic()
        for worker in workers:
            drain = ["drain", worker, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=150s"]
            run([*stack.cluster.kubectl, *drain], log="e2e-drain")
            output([*stack.cluster.kubectl, "uncordon", worker])
            rollout = ["--namespace", namespace, "rollout", "status", f"deployment/{deployment.metadata.name}"]
            run([*stack.cluster.kubectl, *rollout, "--timeout=90s"], log="e2e-chart")
        took = time.monotonic() - started
    report("drains, with nothing set but the image", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)

    assert whatever_is_labelled(stack, PLAIN)
    helm(stack, "uninstall", PLAIN, "--namespace", namespace, "--wait")
    wait_for("nothing left of the release", lambda: not whatever_is_labelled(stack, PLAIN), seconds=60)
    report("helm uninstall leaves nothing behind")


def test_upgrade_from_the_chart_before_and_back(
    stack: up.Stack,
    namespace: str,
    apps: client.AppsV1Api,
    foreign: Built,
    tmp_path: Path,
    report: Callable[..., None],
) -> None:
    before = chart_of(BEFORE, tmp_path)
    image = ["--set-string", f"image.repository={foreign.repository}", "--set-string", f"image.digest={foreign.digest}"]
    options = ["--namespace", namespace, "--wait", "--timeout", "120s"]
    helm(stack, "install", PLAIN, str(before), *options, *image)
    (deployment,) = apps.list_namespaced_deployment(namespace).items
    wait_for("three pods", lambda: ready(apps, namespace) == 3, seconds=90)
    apply(stack, route(namespace, deployment.metadata.name))
    url = f"https://plain.{GATEWAY_HOST}:{stack.cluster.ports['https']}/"
    wait_for("the route", lambda: answers(url, stack), seconds=30)
    with under(Load(url, stack.service.authority.certificate, expected=200)) as running:
        started = time.monotonic()
        helm(stack, "upgrade", PLAIN, str(CHART), *options, *image)
        assert ready(apps, namespace) >= 3
        helm(stack, "rollback", PLAIN, *options)
        assert ready(apps, namespace) >= 3
        took = time.monotonic() - started
    report("upgrade from the chart's version before, and rollback", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)


def chart_of(commit: str, folder: Path) -> Path:
    """The chart as it was at a commit of this repository."""
    archive = folder / "chart.tar"
    # A shallow clone has no history: `git fetch --unshallow` mends it.
    run(["git", "archive", f"--output={archive}", commit, "charts/fastapi-service"], log="e2e-chart", cwd=ROOT)
    run(["tar", "--extract", f"--file={archive}", f"--directory={folder}"], log="e2e-chart")
    return folder / "charts" / "fastapi-service"


def ready(apps: client.AppsV1Api, namespace: str) -> int:
    (deployment,) = apps.list_namespaced_deployment(namespace).items
    return int(deployment.status.ready_replicas or 0)


def route(namespace: str, service: str) -> dict[str, object]:
    rule = {"backendRefs": [{"name": service, "port": 80}]}
    gateway = {"name": "traefik", "namespace": "ingress"}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "plain", "namespace": namespace},
        "spec": {"parentRefs": [gateway], "hostnames": [f"plain.{GATEWAY_HOST}"], "rules": [rule]},
    }


def answers(url: str, stack: up.Stack) -> bool:
    with Load(url, stack.service.authority.certificate, expected=200) as once:
        once.sent_at_least(20)
    return once.result.failed == 0


def test_helm_test_of_the_service(stack: up.Stack, report: Callable[..., None]) -> None:
    started = time.monotonic()
    said = helm(stack, "test", "links", "--namespace", NAMESPACE, "--timeout", "90s")
    assert "Succeeded" in said
    assert "Failed" not in said
    report("helm test of the service", seconds=time.monotonic() - started)


def test_upgrade_after_somebody_scaled_by_hand(
    stack: up.Stack,
    apps: client.AppsV1Api,
    core: client.CoreV1Api,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """Neither a conflict nor a lost request, though nothing is forced."""
    upgrade = [word for word in stack.service.upgrade_command(stack.image) if word != "--force-conflicts"]
    wait_for("a settled deployment", lambda: deployment_is_settled(apps, core), seconds=120)
    with under(load()) as running:
        started = time.monotonic()
        scale = ["--namespace", NAMESPACE, "scale", "deployment/links", "--replicas=5"]
        output([*stack.cluster.kubectl, *scale])
        run(upgrade, log="e2e-upgrade")
        assert ready(apps, NAMESPACE) >= 3
        took = time.monotonic() - started
    report("helm upgrade after kubectl scale", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)


def test_killed_processes_cost_no_request(
    stack: up.Stack,
    apps: client.AppsV1Api,
    core: client.CoreV1Api,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """SIGKILL, one pod after the other: the ingress sends again what a dying process has not answered."""
    wait_for("a settled deployment", lambda: deployment_is_settled(apps, core), seconds=120)
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    with under(load()) as running:
        started = time.monotonic()
        for pod in pods:
            kill(pod)
            wait_for("a restarted pod", partial(restarted, core, pod), seconds=60)
            # Until the ingress has it back, there would be no other to send to.
            running.sent_at_least(running.sent + SETTLE)
        took = time.monotonic() - started
    report(f"SIGKILL of {len(pods)} processes, one by one", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)


def kill(pod: client.V1Pod) -> None:
    """End the container's processes as the kernel does when memory is out: without a word."""
    (status,) = pod.status.container_statuses
    identity = status.container_id.rpartition("/")[2]
    script = f"for each in $(grep -ls {identity} /proc/[0-9]*/cgroup); do kill -9 $(echo $each | cut -d/ -f3); done"
    run(["docker", "exec", pod.spec.node_name, "sh", "-c", script], log="e2e-kill")


def restarted(core: client.CoreV1Api, pod: client.V1Pod) -> bool:
    (before,) = pod.status.container_statuses
    (now,) = core.read_namespaced_pod(pod.metadata.name, NAMESPACE).status.container_statuses
    return bool(now.restart_count > before.restart_count and now.ready)


def test_failing_migration_says_why_and_changes_nothing(
    stack: up.Stack, core: client.CoreV1Api, apps: client.AppsV1Api
) -> None:
    before = {p.metadata.uid for p in core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items}
    wrong = ["--set-string", "config.APP_DATABASE_URL=postgresql://nobody:wrong@postgresql.data.svc:5432/none"]
    quick = ["--set", "migrations.backoffLimit=0", "--set", "config.APP_MIGRATE_WAIT_SECONDS=1"]
    log = log_file("e2e-migration")
    log.unlink(missing_ok=True)
    with pytest.raises(CommandFailed):
        run(stack.service.upgrade_command(stack.image, "--rollback-on-failure", *wrong, *quick), log="e2e-migration")
    # What the Job said, printed by Helm itself.
    assert "APP_DATABASE_URL: cannot connect" in log.read_text()
    now = {p.metadata.uid for p in core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items}
    assert before <= now
    assert stack.service.history()[-1]["status"] == "deployed"
