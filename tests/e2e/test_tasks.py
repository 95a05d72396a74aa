"""Of 10,000 tasks none is lost and none is done twice, whatever happens to the API, the workers and the database.

An API that puts a task with each write, two workers, and a cron job: one values file of 40 lines. A task here is the
check of a link's target; what it writes counts how often it was done. Most tasks come of imports, which are tasks
themselves.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import httpx
import pytest
from kubernetes import client

from k8s import up
from tests.e2e import database
from tests.e2e.cluster import wait_for
from tests.e2e.links_release import LinksRelease, released
from tests.e2e.load import Load, Write, assert_lost_nothing, note
from tests.e2e.machine import slowness
from tests.e2e.pods import drain_each_worker, kill
from tests.e2e.web import Loopback, trust_of
from toolkit.process import run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]

NAME = "tasks"
WORKER = f"{NAME}-worker"
TASKS = 10_000
LINES = 1_200  # in one import
RATE = 10  # writes a second
# The service refuses to ask this address, so a task needs nobody but the database.
TARGET = "http://127.0.0.2/"
# What a killed pod, or a database that is away, may cost a write: nobody has acknowledged it.
UNAVAILABLE = ("write: status 502", "write: status 503")


@pytest.fixture(scope="module")
def release(stack: up.Stack) -> Iterator[LinksRelease]:
    with released(stack, NAME, cache=3) as release:
        yield release


@pytest.fixture
def writes(release: LinksRelease, token: str) -> Callable[[], Load]:
    """Makes a load of writes, each of which puts a task."""

    def make() -> Load:
        authority = release.stack.service.authority.certificate
        write = Write(f"{release.url}/api/v1/links", token, body={"url": TARGET})
        return Load(write.url, authority, rate=RATE, write=write)

    return make


def test_no_task_is_lost_or_done_twice(
    release: LinksRelease, writes: Callable[[], Load], token: str, report: Callable[..., None]
) -> None:
    def number(statement: str) -> int:
        return int(release.row(statement)[0])

    began = time.monotonic()
    with writes() as planned:
        planned.go_on(1)
        import_links(release, token, "upgrade")
        release.upgrade(*release.options("--set", "podAnnotations.again=yes", "--set", "workers.worker.replicas=3"))
        import_links(release, token, "rollback")
        release.helm("rollback", "--wait", "--timeout=120s")
        import_links(release, token, "drain")
        drain_each_worker(release.stack, NAME, NAME, WORKER)
        import_links(release, token, "scale-in")
        for component in ("worker", "app"):
            scale(release, component, 1)
            scale(release, component, 2)
        planned.go_on(1)
    took = time.monotonic() - began
    what = "tasks: upgrade, rollback, drains, scale-in of workers and API"
    report(what, planned.result, seconds=took, note=note(planned))
    assert_lost_nothing(planned)

    began = time.monotonic()
    with writes() as harmed:
        harmed.go_on(1)
        import_links(release, token, "worker")
        wait_for("a task that is being done", lambda: number("SELECT count(*) FROM tasks WHERE lease IS NOT NULL") > 0)
        kill(release.pod("worker"))
        import_links(release, token, "app")
        kill(release.pod("app"))
        release.rolled_out(NAME, WORKER)
        import_links(release, token, "database")
        restart_database(release.stack)
        import_links(release, token, "afterwards")
        release.rolled_out(NAME, WORKER)
        harmed.go_on(1)
    others = [reason for _, reason in harmed.result.failures if not reason.startswith(UNAVAILABLE)]
    assert others == [], harmed.result.reasons()

    wait_for("the end of all tasks", lambda: number("SELECT count(*) FROM tasks") == 0, seconds=120 * slowness())
    made = {location.rpartition("/")[2] for load in (planned, harmed) for location in load.result.made}
    slugs = set(database.sql(release.stack, "SELECT slug FROM links", NAME).split())
    assert made <= slugs, f"{len(made - slugs)} of {len(made)} writes were acknowledged and lost"
    assert release.row("SELECT sum(lines), sum(made), count(*) FROM imports") == [str(8 * LINES), str(8 * LINES), "8"]
    counted = "SELECT count(*), count(*) FILTER (WHERE checks = 1) FROM links LEFT JOIN target_checks USING (slug)"
    assert release.row(counted) == [str(len(slugs))] * 2, "a task was lost, or done twice"
    assert len(slugs) >= TASKS
    refused = f"{harmed.result.failed} of {harmed.result.sent} writes refused"
    said = f"{len(slugs):,} tasks in all: 0 lost, 0 done twice; {refused}"
    took = time.monotonic() - began
    report("tasks: SIGKILL of a worker and of a pod of the API, restart of the database", seconds=took, note=said)


def test_a_cron_job_runs_once_each_time(release: LinksRelease) -> None:
    batch = client.BatchV1Api()

    def jobs() -> dict[datetime, int]:
        """How often each time's Job has succeeded."""
        found = batch.list_namespaced_job(NAME).items
        stamp = "batch.kubernetes.io/cronjob-scheduled-timestamp"
        times = {job.metadata.annotations[stamp]: job for job in found if stamp in (job.metadata.annotations or {})}
        assert len(times) == len([job for job in found if stamp in (job.metadata.annotations or {})])
        return {datetime.fromisoformat(at): job.status.succeeded or 0 for at, job in times.items()}

    found = wait_for("two times of the cron job", lambda: at if len(at := jobs()) >= 2 else None, seconds=150)
    times = sorted(found)
    assert times == [times[0] + timedelta(minutes=n) for n in range(len(times))]
    wait_for("the success of each", lambda: set(jobs().values()) == {1}, seconds=90)


def import_links(release: LinksRelease, token: str, key: str) -> None:
    """Import LINES links; a request that is refused is sent again with its key."""
    trust = trust_of(release.stack.service.authority.certificate)
    text = "url\n" + f"{TARGET}\n" * LINES
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "text/csv", "Idempotency-Key": key}
    with httpx.Client(base_url=release.url, timeout=20, transport=Loopback(trust)) as web:

        def accepted() -> bool:
            try:
                answer = web.post("/api/v1/imports", content=text, headers=headers)
            except httpx.TransportError:
                return False
            assert answer.status_code in (202, 502, 503), answer.text
            return answer.status_code == 202

        wait_for("an import that is accepted", accepted)


def scale(release: LinksRelease, component: str, replicas: int) -> None:
    """Have so many pods of a component, those that drain counted in."""
    deployment = {"app": NAME, "worker": WORKER}[component]
    run([*release.kubectl, "scale", f"deployment/{deployment}", f"--replicas={replicas}"], log="e2e-tasks")
    wait_for(f"{replicas} pods of {deployment}", lambda: len(release.pods(component)) == replicas)
    release.rolled_out(NAME, WORKER)


def restart_database(stack: up.Stack) -> None:
    kubectl = [*stack.cluster.kubectl, "--namespace=data"]
    run([*kubectl, "rollout", "restart", "statefulset/postgresql"], log="e2e-tasks")
    run([*kubectl, "rollout", "status", "statefulset/postgresql", "--timeout=120s"], log="e2e-tasks")
