"""What users meet while what the service needs is away. These spend its error budget: they run late (lanes.py)."""

import ssl
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from kubernetes import client

from k8s import up
from k8s.service import NAMESPACE
from keel.data.shared_cache import MARK_SECONDS
from tests.e2e import causes
from tests.e2e.cluster import wait_for
from tests.e2e.load import Load, assert_lost_nothing, note, under
from tests.e2e.pods import FEWEST, PODS, STALE_SECONDS, generation, management, pod_names
from tests.e2e.subject import SUBJECT
from tests.e2e.web import Loopback
from toolkit.process import CommandFailed, output

pytestmark = pytest.mark.timeout(600)
CREATED, UNAVAILABLE = 201, 503
Create = Callable[..., httpx.Response]


def ready_pods(core: client.CoreV1Api) -> set[str]:
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
    statuses = {pod.metadata.name: pod.status.container_statuses or [] for pod in pods}
    return {name for name, found in statuses.items() if found and all(status.ready for status in found)}


def reaches_database(core: client.CoreV1Api, pod: str) -> bool:
    return '"database":"ok"' in management(core, pod, "readyz")


def followed_stale(core: client.CoreV1Api, pods: set[str]) -> float:
    """Redirects of these pods whose time in the caches was over."""
    lines = [line for pod in pods for line in management(core, pod, "metrics").splitlines()]
    return sum(float(line.split()[1]) for line in lines if line.startswith("links_followed_stale_total "))


def resolves(stack: up.Stack, pod: str) -> bool:
    """Whether a pod finds the database's address."""
    look = ["python3", "-c", "import socket; socket.getaddrinfo('postgresql.data.svc', 5432)"]
    try:
        output([*stack.cluster.kubectl, "--namespace", NAMESPACE, "exec", pod, "--", *look])
    except CommandFailed:
        return False
    return True


def assert_refused(answer: httpx.Response) -> None:
    """By the service itself, which says when to come again."""
    assert answer.status_code == UNAVAILABLE
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0


@pytest.fixture
def create(stack: up.Stack, token: str) -> Iterator[Create]:
    """Makes a page, each time on a connection of its own, so that any pod may get it."""
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    with httpx.Client(transport=Loopback(trust), base_url=stack.service.url, timeout=20) as web:

        def create(token: str = token) -> httpx.Response:
            return SUBJECT.write(web, token, Connection="close")

        yield create


@pytest.fixture(scope="module")
def page(stack: up.Stack, make_page: Callable[[], str]) -> str:
    """The path of something that the caches have: Valkey keeps none that was changed a moment ago."""
    trust = ssl.create_default_context(cafile=stack.service.authority.certificate)
    path, made = make_page(), time.monotonic()
    with httpx.Client(transport=Loopback(trust), base_url=stack.service.url, timeout=10) as web:

        def kept() -> bool:
            answers = [web.get(path, headers={"Connection": "close"}).status_code for _ in range(10)]
            return answers == [SUBJECT.status] * 10 and time.monotonic() - made > MARK_SECONDS + STALE_SECONDS

        wait_for("something that Valkey keeps", kept)
    return path


@pytest.fixture
def pods(core: client.CoreV1Api, page: str) -> set[str]:
    """The service at rest, with something to read. These pods are to stay ready; the autoscaler may add others."""
    del page

    def at_rest() -> bool:
        found = core.list_namespaced_pod(NAMESPACE, label_selector=PODS).items
        return len(found) == FEWEST and len(ready_pods(core)) == FEWEST and len(pod_names(core)) == FEWEST

    # The autoscaler waits for five calm minutes before it removes what a test before has made it add.
    wait_for("the service at rest", at_rest, seconds=400)
    return ready_pods(core)


def test_without_a_database_links_are_followed_and_pods_stay_ready(
    stack: up.Stack,
    web: httpx.Client,
    core: client.CoreV1Api,
    pods: set[str],
    create: Create,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """Unready all at once, they would leave the answer to the ingress, which knew nothing but 404."""
    with under(load()) as running, ExitStack() as afterwards:
        with causes.stopped(stack, "data", "statefulset/postgresql"):
            wait_for("every pod knows", lambda: not any(reaches_database(core, pod) for pod in pods))
            # Ten seconds: a readiness probe that failed three times would count by then.
            running.go_on(10)
            assert_refused(create())
            assert_refused(web.get("/nobody-has-followed-this"))
            before = followed_stale(core, pods)
            # So that what there is, is in memory. It comes back when the database is there: it would come back empty.
            afterwards.enter_context(causes.stopped(stack, "data", "deployment/valkey"))
            wait_for("stale answers", lambda: followed_stale(core, pods) > before + 5 * running.rate, seconds=30)
            staying = pods & set(pod_names(core))
            assert len(staying) >= FEWEST
            assert staying <= ready_pods(core)
        stale = followed_stale(core, pods) - before
        wait_for("the database is asked again", lambda: all(reaches_database(core, pod) for pod in staying))
    report("the database is gone, then Valkey too", running.result, note=f"{stale:.0f} stale answers; {note(running)}")
    assert_lost_nothing(running)
    assert create().status_code == CREATED


@pytest.mark.nightly
def test_one_pod_alone_is_cut_off_from_the_database(
    core: client.CoreV1Api,
    pods: set[str],
    create: Create,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """It stays ready, as decision 16 has it: it follows links, and what it cannot do it says with 503."""
    name, *others = sorted(pods)
    pod = core.read_namespaced_pod(name, NAMESPACE)
    with under(load()) as running:
        with causes.cut_off(pod, 5432):
            wait_for("the pod knows", lambda: not reaches_database(core, name), seconds=20)
            with ThreadPoolExecutor(6) as people:
                answers = list(people.map(lambda _: create(), range(36)))
            assert all(reaches_database(core, other) for other in others)
            assert pods <= ready_pods(core)
        wait_for("the pod reaches it again", lambda: reaches_database(core, name), seconds=15)
    refused = [answer for answer in answers if answer.status_code != CREATED]
    report(
        "one pod is cut off from the database",
        running.result,
        note=f"{len(refused)} of 36 creates got 503; {note(running)}",
    )
    for answer in refused:
        assert_refused(answer)
    assert 0 < len(refused) < len(answers)
    assert_lost_nothing(running)
    assert {create().status_code for _ in range(12)} == {CREATED}


@pytest.mark.usefixtures("pods")
def test_the_token_key_set_is_away(
    stack: up.Stack, create: Create, tmp_path: Path, report: Callable[..., None]
) -> None:
    """Known keys go on, those of nobody knows whom are refused at once, and what is there again is read again."""
    known = output(["sh", "-c", stack.service.facts()["token"]]).strip()
    key = tmp_path / "key.json"
    command = stack.service.facts()["token"].replace(str(stack.service.dev_key), str(key))
    unknown = output(["sh", "-c", command]).strip()
    with causes.key_set(stack, None):
        made = {create(known).status_code for _ in range(20)}
        started = time.monotonic()
        refused = {create(unknown).status_code for _ in range(20)}
        took = (time.monotonic() - started) / 20
    assert (made, refused) == ({CREATED}, {401})
    assert took < 0.5
    published = output([sys.executable, "-m", "app", "token", "--jwks", "--key", str(key)])
    with causes.key_set(stack, published):
        wait_for("the new key in every pod", lambda: {create(unknown).status_code for _ in range(9)} == {CREATED})
    wait_for("the old key in every pod", lambda: {create(known).status_code for _ in range(9)} == {CREATED})
    report("the key set is away", note=f"20 tokens of its key taken, 20 others refused in {took * 1000:.0f} ms each")


@pytest.mark.nightly
def test_names_cannot_be_resolved(
    stack: up.Stack,
    core: client.CoreV1Api,
    pods: set[str],
    create: Create,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """Half a minute without DNS, until it has started again: what is connected stays so."""
    with ThreadPoolExecutor(12) as people:  # so that each pod has some connections
        assert {answer.status_code for answer in people.map(lambda _: create(), range(72))} == {CREATED}
    assert resolves(stack, min(pods))
    created: list[int] = []

    def make() -> None:
        for _ in range(40):
            running.go_on(0.5)
            created.append(create().status_code)

    with under(load()) as running, ThreadPoolExecutor(1) as person:
        with causes.stopped(stack, "kube-system", "deployment/coredns"):
            wait_for("no names", lambda: not resolves(stack, min(pods)))
            making = person.submit(make)  # and on, while DNS starts again
            wait_for("some links", lambda: len(created) >= 12 or making.done())
            assert not resolves(stack, min(pods))
            assert pods <= ready_pods(core)
            assert all(reaches_database(core, pod) for pod in pods)
        making.result()
    report("names cannot be resolved", running.result, note=f"{len(created)} links made; {note(running)}")
    assert_lost_nothing(running)
    assert set(created) == {CREATED}


def test_a_failover_to_another_primary(
    stack: up.Stack,
    core: client.CoreV1Api,
    pods: set[str],
    create: Create,
    load: Callable[..., Load],
    report: Callable[..., None],
) -> None:
    """The name leads to another server. The first takes no more writes, and keeps its connections."""
    before, failover = generation(core), causes.Failover(stack)
    try:
        failover.start()
        assert create().status_code == CREATED
        with under(load()) as running:
            failover.demote()
            wait_for("no writes", lambda: create().status_code == UNAVAILABLE, seconds=10, every=0.1)
            for _ in range(12):
                assert_refused(create())
            failover.promote()
            switched = time.monotonic()
            made = wait_for("a write", lambda: _created(create()), seconds=30, every=0.1)
            took = time.monotonic() - switched
            answers = [create().status_code for _ in range(24)]
        there = failover.sql(failover.NAME, f"SELECT count(*) FROM links WHERE slug = '{made}'")  # noqa: S608
    finally:
        failover.end()
    after = "from then on all" if set(answers) == {CREATED} else f"then {answers}"
    report("a failover of the database", running.result, note=f"writes go on after {took:.1f} s, {after}")
    assert there == "1"
    assert took < 5
    assert generation(core) == before
    assert pods <= ready_pods(core)
    assert_lost_nothing(running)
    wait_for("writes to the first again", lambda: create().status_code == CREATED, seconds=15, every=0.1)


def _created(answer: httpx.Response) -> str | None:
    return str(answer.json()["slug"]) if answer.status_code == CREATED else None
