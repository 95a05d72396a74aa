"""While the database is away, slow or another one, cached things are read, writes are refused, and pods stay.

These spend the service's error budget: they run late (lanes.py).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE, RELEASE
from offline.image_build import Built
from tests.e2e import causes, database
from tests.e2e.cluster import wait_for
from tests.e2e.faults import harm, servers
from tests.e2e.faults.conftest import Create, Fault
from tests.e2e.faults.servers import LOG
from tests.e2e.faults.watch import REFUSED
from tests.e2e.pods import management, pod_names
from tests.e2e.subject import SUBJECT
from toolkit.process import output, run

pytestmark = pytest.mark.timeout(600)
CREATED, UNAVAILABLE = 201, 503
# Longer than the chart's probes take to give a pod up that does not answer them.
AWAY_SECONDS = 30
LOCKED_SECONDS = 20
FEW_CONNECTIONS = 70  # more than the service has, so that afterwards there is one for the test
# Of a machine at full speed, until writes are taken again.
BACK_SECONDS = 5


def reaches_database(core: client.CoreV1Api, pod: str) -> bool:
    return '"database":"ok"' in management(core, pod, "readyz")


def followed_stale(core: client.CoreV1Api, pods: list[str]) -> float:
    """Redirects of these pods whose time in the caches was over."""
    lines = [line for pod in pods for line in management(core, pod, "metrics").splitlines()]
    return sum(float(line.split()[1]) for line in lines if line.startswith("links_followed_stale_total "))


def assert_refused(answer: httpx.Response) -> None:
    """By the service itself, which says when to come again."""
    assert answer.status_code == UNAVAILABLE
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


def test_it_is_gone_and_then_the_cache_too(
    stack: up.Stack, stranger: httpx.Client, core: client.CoreV1Api, create: Create, fault: Fault
) -> None:
    """Unready all at once, the pods would leave the answer to the ingress, which knew nothing but 404."""
    pods = pod_names(core)
    with (
        fault("database gone, then Valkey too", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True) as watch,
        ExitStack() as afterwards,
    ):
        with causes.stopped(stack, "data", "statefulset/postgresql"):
            wait_for("every pod knows", lambda: not any(reaches_database(core, pod) for pod in pods))
            watch.load.go_on(AWAY_SECONDS)
            assert_refused(create())
            assert_refused(stranger.get("/nobody-has-followed-this"))
            before = followed_stale(core, pods)
            # So that what there is, is in memory. It comes back when the database is there: it would come back empty.
            afterwards.enter_context(causes.stopped(stack, "data", "deployment/valkey"))
            enough = before + 5 * watch.load.rate
            wait_for("stale answers", lambda: followed_stale(core, pods) > enough, seconds=30)
        watch.over()
        wait_for("the database is asked again", lambda: all(reaches_database(core, pod) for pod in pods))
    assert create().status_code == CREATED


@pytest.mark.nightly
def test_it_is_restarted(stack: up.Stack, fault: Fault) -> None:
    with fault("database restarted", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True):
        harm.restart(stack, "statefulset/postgresql")


@pytest.mark.nightly
def test_one_pod_alone_is_cut_off(core: client.CoreV1Api, create: Create, fault: Fault) -> None:
    """It stays ready, as decision 16 has it: it follows links, and what it cannot do it says with 503."""
    name, *others = pod_names(core)
    pod = core.read_namespaced_pod(name, NAMESPACE)
    with fault("one pod cut off from the database", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True) as watch:
        with causes.cut_off(pod, 5432):
            wait_for("the pod knows", lambda: not reaches_database(core, name), seconds=20)
            with ThreadPoolExecutor(6) as people:
                answers = list(people.map(lambda _: create(), range(36)))
            assert all(reaches_database(core, other) for other in others)
        watch.over()
        wait_for("the pod reaches it again", lambda: reaches_database(core, name), seconds=15)
    refused = [answer for answer in answers if answer.status_code != CREATED]
    for answer in refused:
        assert_refused(answer)
    assert 0 < len(refused) < len(answers)


def test_another_becomes_the_primary(stack: up.Stack, create: Create, fault: Fault) -> None:
    """The name leads to another server. The first takes no more writes, and keeps its connections."""
    failover = causes.Failover(stack)

    def both(statement: str) -> str:
        return database.sql(stack, statement) + "\n" + failover.sql(failover.NAME, statement)

    try:
        failover.start()
        with fault(
            "database's primary replaced", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True, stored=both
        ) as watch:
            failover.demote()
            wait_for("no writes", lambda: create().status_code == UNAVAILABLE, seconds=10, every=0.1)
            for _ in range(12):
                assert_refused(create())
            failover.promote()
            watch.over()
            watch.load.go_on(2 * BACK_SECONDS)
    finally:
        failover.end()
    wait_for("writes to the first again", lambda: create().status_code == CREATED, seconds=15, every=0.1)


@pytest.mark.nightly
def test_others_have_its_connections(stack: up.Stack, fault: Fault) -> None:
    with (
        harm.few_connections(stack, FEW_CONNECTIONS),
        fault("database at its limit of connections", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True) as watch,
    ):
        with servers.crowd(stack, FEW_CONNECTIONS, harm.END_ALL):
            watch.load.go_on(LOCKED_SECONDS)
        watch.over()


@pytest.mark.nightly
def test_its_table_is_locked(stack: up.Stack, fault: Fault) -> None:
    with fault("a table locked", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True) as watch:
        with harm.locked(stack, SUBJECT.table):
            watch.load.go_on(LOCKED_SECONDS)
        watch.over()


@pytest.mark.nightly
def test_its_disk_is_full(stack: up.Stack, create: Create, fault: Fault) -> None:
    """That of another primary, on a small disk in memory."""
    failover = causes.Failover(stack, room="200Mi")

    def both(statement: str) -> str:
        return database.sql(stack, statement) + "\n" + failover.sql(failover.NAME, statement)

    try:
        failover.start()
        failover.demote()
        failover.promote()
        wait_for("writes to it", lambda: create().status_code == CREATED, seconds=15, every=0.1)
        with fault("database's disk full", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True, stored=both) as watch:
            with failover.no_space():
                wait_for("no writes", lambda: create().status_code == UNAVAILABLE, seconds=20, every=0.1)
                watch.load.go_on(LOCKED_SECONDS)
            watch.over()
    finally:
        failover.end()
    wait_for("writes to the first again", lambda: create().status_code == CREATED, seconds=15, every=0.1)


@pytest.mark.nightly
def test_the_way_to_it_is_long_and_lossy(stack: up.Stack, core: client.CoreV1Api, fault: Fault) -> None:
    """A write asks more than once, each time for 0.4 s and more: it may be too late, and is not lost."""
    (server,) = core.list_namespaced_pod("data", label_selector="app.kubernetes.io/name=postgresql").items

    def reconnect() -> None:
        database.sql(stack, harm.END_ALL)

    with fault(
        "200 ms and 5 % of packets lost on the way to the database", may_fail=REFUSED, recovers=BACK_SECONDS, stays=True
    ) as watch:
        with harm.detour(stack, "postgresql", 5432, 0.2, reconnect), harm.loss(server, 0.05):
            watch.load.go_on(AWAY_SECONDS)
        watch.over()


@pytest.mark.nightly
def test_a_pooler_is_put_before_it(
    stack: up.Stack, core: client.CoreV1Api, images: Callable[[str], Built], fault: Fault
) -> None:
    """A release with migrations goes through PgBouncer, and the one before does not."""
    with servers.pooler(stack) as pooler:
        url = f"--set-string=config.APP_DATABASE_URL={pooler.url}"
        mode = "--set-string=config.APP_DATABASE_POOLER=transaction"

        def all_through_it() -> bool:
            return database.sql(stack, f"SELECT DISTINCT client_addr FROM {harm.SESSIONS}").split() == [pooler.address]  # noqa: S608

        try:
            with fault("PgBouncer before the database, and away again"):
                run(stack.service.upgrade_command(images("next"), url, mode), log=LOG)
                wait_for("sessions of the pooler alone", all_through_it)
                migrate_at_once(stack, pod_names(core))
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                assert database.sql(stack, locks).strip() == "0"
                rollback = ["rollback", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "180s"]
                run([*stack.cluster.helm, *rollback], log=LOG)
        finally:  # whatever it failed at: the pooler goes now
            run(stack.service.upgrade_command(stack.image), log=LOG)


def migrate_at_once(stack: up.Stack, pods: list[str]) -> None:
    """In each pod: one does it, and the others wait for it, or else one of them fails."""
    kubectl = [*stack.cluster.kubectl, "--namespace", NAMESPACE, "exec"]
    with ThreadPoolExecutor(len(pods)) as people:
        list(people.map(lambda pod: output([*kubectl, pod, "--", "python3", "-m", "app", "migrate"]), pods))
