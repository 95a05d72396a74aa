"""The service's own release: tested by Helm, upgraded after `kubectl scale`, migrated wrongly."""

import time
from collections.abc import Callable

import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load, assert_lost_nothing, note, under
from tests.e2e.pods import FEWEST, PODS, deployment_is_settled
from tests.e2e.release import ready_pods
from toolkit.process import CommandFailed, log_file, output, run

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(autouse=True)
def settled(apps: client.AppsV1Api, core: client.CoreV1Api) -> None:
    wait_for("a settled deployment", lambda: deployment_is_settled(apps, core), seconds=120)


def test_helm_test_of_the_service(stack: up.Stack, report: Callable[..., None]) -> None:
    started = time.monotonic()
    said = output([*stack.cluster.helm, "test", "links", "--namespace", NAMESPACE, "--timeout", "90s"])
    assert "Succeeded" in said
    assert "Failed" not in said
    report("helm test of the service", seconds=time.monotonic() - started)


def test_upgrade_after_somebody_scaled_by_hand(
    stack: up.Stack, load: Callable[..., Load], report: Callable[..., None]
) -> None:
    """Neither a conflict, though nothing is forced, nor a lost request, nor a pod fewer than wanted."""
    upgrade = [word for word in stack.service.upgrade_command(stack.image) if word != "--force-conflicts"]
    with ready_pods(stack, NAMESPACE, "links") as ready, under(load()) as running:
        started = time.monotonic()
        scale = ["--namespace", NAMESPACE, "scale", "deployment/links", "--replicas=5"]
        output([*stack.cluster.kubectl, *scale])
        run(upgrade, log="e2e-upgrade")
        took = time.monotonic() - started
    report("helm upgrade after kubectl scale", running.result, seconds=took, note=note(running))
    assert_lost_nothing(running)
    assert min(ready) >= FEWEST, ready


def test_failing_migration_says_why_and_changes_nothing(stack: up.Stack, core: client.CoreV1Api) -> None:
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
    # Else its alert would fire until the next release.
    run(stack.service.upgrade_command(stack.image), log="e2e-migration")
