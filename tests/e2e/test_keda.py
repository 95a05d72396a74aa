"""KEDA sets the number of pods by real queues: PostgreSQL's, lists and streams of Valkey, and what Prometheus says.

From none to several when something waits, and back to none when nothing does. A queue that cannot be asked is not
taken for an empty one.
"""

import time
from collections.abc import Callable, Iterator

import pytest

from k8s import up
from tests.e2e import database, keda
from tests.e2e.cluster import wait_for
from tests.e2e.faults import harm
from tests.e2e.links_release import LinksRelease, released
from tests.e2e.load import Load, Write
from toolkit.process import output

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(2400)]

NAME = "scaled"
CACHE = 5
JOBS = 120
UP_SECONDS, DOWN_SECONDS = 90, 150
UNASKED_SECONDS = 40  # several times what an empty queue costs a worker
END_ALL = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{NAME}'"  # noqa: S608


@pytest.fixture(scope="module")
def release(stack: up.Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinksRelease]:
    password = stack.platform.secret("data", "valkey", "password")
    with (
        keda.installed(stack, tmp_path_factory.mktemp("keda")),
        released(stack, NAME, cache=CACHE, more={"valkey_password": password}) as found,
    ):
        valkey(found, "FLUSHDB")  # of an earlier run on the same cluster
        yield found


@pytest.fixture
def pods(release: LinksRelease) -> Callable[[str], int]:
    """How many pods a Deployment is to have."""

    def count(deployment: str) -> int:
        get = ["get", f"deployment/{deployment}", "--output=jsonpath={.spec.replicas}"]
        return int(output([*release.kubectl, *get]))

    return count


def worker(name: str) -> str:
    return f"{NAME}-{name}"


def valkey(release: LinksRelease, *command: str) -> str:
    return harm.valkey(release.stack, "-n", str(CACHE), *command).strip()


def test_the_queue_in_postgresql(
    release: LinksRelease, pods: Callable[[str], int], token: str, report: Callable[..., None]
) -> None:
    wait_for("no worker, as there is no task", lambda: pods(worker("tasks")) == 0, seconds=DOWN_SECONDS)
    with a_write(release, token) as load:
        load.sent_at_least(JOBS)
    assert load.result.failed == 0, load.result.reasons()
    wait_for("a worker", lambda: pods(worker("tasks")) > 0, seconds=UP_SECONDS)
    wait_for("the end of all tasks", lambda: release.row("SELECT count(*) FROM tasks") == ["0"], seconds=UP_SECONDS)
    wait_for("no worker any more", lambda: pods(worker("tasks")) == 0, seconds=DOWN_SECONDS)
    checked = release.row("SELECT count(*), sum(checks) FROM target_checks")
    assert checked == [str(load.result.sent)] * 2
    report("KEDA: tasks in PostgreSQL, from no worker and back to none", load.result, note=f"{checked[0]} tasks done")


def test_a_list_of_valkey(release: LinksRelease, pods: Callable[[str], int], report: Callable[..., None]) -> None:
    wait_for("no worker, as nothing waits", lambda: pods(worker("list")) == 0, seconds=DOWN_SECONDS)
    valkey(release, "RPUSH", "jobs", *map(str, range(JOBS)))
    wait_for("several workers", lambda: pods(worker("list")) > 1, seconds=UP_SECONDS)
    wait_for("no worker any more", lambda: pods(worker("list")) == 0, seconds=DOWN_SECONDS)
    assert valkey(release, "LLEN", "jobs") == "0"
    report("KEDA: a list of Valkey, from no worker to several, and back to none")


def test_a_stream_of_valkey(release: LinksRelease, pods: Callable[[str], int], report: Callable[..., None]) -> None:
    valkey(release, "XGROUP", "CREATE", "events", "workers", "0", "MKSTREAM")
    wait_for("no worker, as nothing waits", lambda: pods(worker("stream")) == 0, seconds=DOWN_SECONDS)
    valkey(release, "EVAL", f"for n = 1, {JOBS} do redis.call('XADD', 'events', '*', 'n', n) end", "0")
    wait_for("several workers", lambda: pods(worker("stream")) > 1, seconds=UP_SECONDS)
    wait_for("no worker any more", lambda: pods(worker("stream")) == 0, seconds=DOWN_SECONDS)
    assert f"entries-read\n{JOBS}\nlag\n0" in valkey(release, "XINFO", "GROUPS", "events")
    assert valkey(release, "XPENDING", "events", "workers").startswith("0")
    report("KEDA: a stream of Valkey, from no worker to several, and back to none")


def test_requests(release: LinksRelease, pods: Callable[[str], int], report: Callable[..., None]) -> None:
    """The API, which has one pod at least, and a worker that follows the same metric down to none."""
    wait_for("one pod of the API", lambda: pods(NAME) == 1, seconds=DOWN_SECONDS)
    with release.load(f"{release.url}/") as load:
        wait_for("more pods of the API", lambda: pods(NAME) > 1, seconds=UP_SECONDS)
        wait_for("the metric's worker", lambda: pods(worker("metric")) > 0, seconds=UP_SECONDS)
    assert load.result.failed == 0, load.result.reasons()
    wait_for("no worker any more", lambda: pods(worker("metric")) == 0, seconds=DOWN_SECONDS)
    wait_for("one pod of the API", lambda: pods(NAME) == 1, seconds=DOWN_SECONDS)
    report("KEDA: the API and a worker by its requests", load.result)


def test_a_queue_that_cannot_be_asked(
    release: LinksRelease, pods: Callable[[str], int], token: str, report: Callable[..., None]
) -> None:
    """No worker is taken away. None is started either: where there is none, tasks wait until the queue can be asked."""
    with a_write(release, token) as load:
        load.sent_at_least(1)
        wait_for("a worker", lambda: pods(worker("tasks")) > 0, seconds=UP_SECONDS)
    database.sql(release.stack, f"ALTER ROLE {NAME} NOLOGIN")
    try:
        database.sql(release.stack, END_ALL)
        asked = time.monotonic()
        while time.monotonic() < asked + UNASKED_SECONDS:
            assert pods(worker("tasks")) > 0
            time.sleep(0.5)
    finally:
        database.sql(release.stack, f"ALTER ROLE {NAME} LOGIN")
    wait_for("no worker any more", lambda: pods(worker("tasks")) == 0, seconds=DOWN_SECONDS)
    assert release.row("SELECT count(*) FROM tasks") == ["0"]
    report("KEDA: a queue that cannot be asked loses no worker")


def a_write(release: LinksRelease, token: str) -> Load:
    """A load of writes, each of which puts a task."""
    write = Write(f"{release.url}/api/v1/links", token, body={"url": "http://127.0.0.2/"})
    return Load(write.url, release.stack.service.authority.certificate, rate=10, write=write)
