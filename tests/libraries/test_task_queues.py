"""docs/other-queues.md: Celery and taskiq on a real Valkey, with workers that are told to end, and killed."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chart.helm import render
from tests.libraries.queues import BLOCKS, Bookings, until_ready
from tests.support.processes import until
from tests.support.servers import Valkey
from toolkit.paths import ROOT

# The first waits for the environment to be made.
pytestmark = pytest.mark.timeout(240)
LETTERS = 200
AT_ONCE = 2
LIBRARIES = ("celery", "taskiq")
DRAINS = {"celery": "Warm shutdown", "taskiq": "Waiting for 2 running tasks"}
DONE = {
    "celery": 'celery_tasks_ended_total{state="SUCCESS",task="letters.send"}',
    "taskiq": 'success_tasks_total{task_name="letters.send"}',
}


@pytest.fixture
def bookings(request: pytest.FixtureRequest, tmp_path: Path, valkey: Valkey) -> Iterator[Bookings]:
    started = Bookings(request.param, tmp_path, valkey)
    try:
        yield started
    finally:
        started.stop()


def of(*libraries: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bookings", libraries, indirect=True)


@of(*LIBRARIES)
def test_no_letter_is_lost_and_none_is_sent_twice(bookings: Bookings) -> None:
    office = bookings.office
    bookings.serve()
    first, second = bookings.work("first"), bookings.work("second")
    until_ready(bookings.service, first, second)
    office.close_at(LETTERS // 4)
    keys = {f"letter-{number}" for number in range(LETTERS)}
    assert {bookings.put(key) for key in keys} == {202}

    # One is told to end: it goes on until what it does is done.
    until(lambda: len(office.held) == 2 * AT_ONCE)
    first.signal(signal.SIGTERM)
    until(lambda: DRAINS[bookings.library] in first.log)
    assert first.process.poll() is None
    office.open(close_at=LETTERS // 2)
    assert first.end() == 0

    # The other is killed in the middle, and a new one comes.
    until(lambda: len(office.held) == AT_ONCE)
    cut_off = office.held
    second.kill()
    third = bookings.work("third")
    office.open()
    until_ready(third)
    until(lambda: all(office.asked[key] == 2 for key in cut_off), seconds=60)
    until(lambda: len(office.letters) == LETTERS and bookings.left() == 0, seconds=60)

    assert office.letters == {key: f"Dear {key}" for key in keys}
    # A trace for each request, which goes on.
    assert len(office.traces) == LETTERS
    assert [trace for trace in office.traces if not re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[1-3]", trace)] == []
    # Metrics count what it has done.
    (done,) = re.findall(f"(?m)^{re.escape(DONE[bookings.library])} (.*)$", httpx.get(f"{third.address}/metrics").text)
    assert float(done) >= LETTERS // 4
    third.signal(signal.SIGTERM)
    assert third.end() == 0


@of(*LIBRARIES)
def test_without_valkey_a_request_is_refused(bookings: Bookings) -> None:
    bookings.serve()
    until_ready(bookings.service)
    bookings.valkey.stop()
    assert bookings.put("letter") == 503


@of(*LIBRARIES)
def test_a_task_that_takes_longer_is_begun_a_second_time(bookings: Bookings) -> None:
    """Though its worker is well. The letter is sent once, as both say the same key."""
    office = bookings.office
    bookings.serve()
    until_ready(bookings.service, bookings.work("first", QUEUE_LOST_AFTER_SECONDS="1"))
    office.close_at(0)
    assert bookings.put("letter") == 202
    until(lambda: office.waiting["letter"] == 2)
    office.open()
    until(lambda: bookings.left() == 0)
    assert office.letters == {"letter": "Dear letter"}


@of(*LIBRARIES)
def test_a_task_that_raises_or_that_no_version_knows_is_gone(bookings: Bookings) -> None:
    """Unlike the kit's, which are kept."""
    office = bookings.office
    bookings.serve()
    worker = bookings.work("first")
    until_ready(bookings.service, worker)
    office.refused.add("bad")
    assert bookings.put("bad") == 202
    until(lambda: office.asked["bad"] == 1 and bookings.left() == 0)
    until(lambda: "HTTPError" in worker.log)

    module = bookings.directory / "bookings" / f"{bookings.library}_queue.py"
    later = module.read_text().replace('"letters.send"', '"letters.send_later"')
    module.write_text(later)
    bookings.service.signal(signal.SIGTERM)
    assert bookings.service.end() == 0
    bookings.serve()
    until_ready(bookings.service)
    assert bookings.put("letter") == 202
    until(lambda: "letters.send_later" in worker.log)
    until(lambda: bookings.left() == 0)
    assert office.asked == {"bad": 1}


@of("celery")
def test_celery_loses_a_task_that_arrives_as_its_worker_dies(bookings: Bookings) -> None:
    """If it no longer does, the document has a chapter less."""
    bookings.serve()
    worker = bookings.work("first")
    until_ready(bookings.service, worker)
    arrived = ""
    for number in range(100):
        worker.signal(signal.SIGSTOP)  # mostly while it waits for a task
        arrived = f"letter-{number}"
        assert bookings.put(arrived) == 202
        if bookings.left() == 0:
            break
        worker.signal(signal.SIGCONT)
        until(lambda key=arrived: key in bookings.office.letters)  # type: ignore[misc]
    worker.kill()
    other = bookings.work("second")
    until_ready(other)
    assert bookings.put("last") == 202
    until(lambda: "last" in bookings.office.letters and bookings.left() == 0)
    assert arrived not in bookings.office.letters


@of(*LIBRARIES)
def test_what_a_process_was_doing_when_it_was_killed_is_begun_anew(bookings: Bookings) -> None:
    """In the same worker: by Celery at once, by taskiq once it counts as lost."""
    office = bookings.office
    bookings.serve()
    worker = bookings.work("first", **({"QUEUE_LOST_AFTER_SECONDS": "600"} if bookings.library == "celery" else {}))
    until_ready(bookings.service, worker)
    office.close_at(0)
    assert bookings.put("letter") == 202
    until(lambda: bool(office.held))
    worker.kill_children()
    until(lambda: office.asked["letter"] == 2)
    office.open()
    until(lambda: bookings.left() == 0)


@of("taskiq")
def test_taskiq_forgets_tasks_that_are_done(bookings: Bookings) -> None:
    bookings.serve()
    until_ready(bookings.service, bookings.work("first"))
    for number in range(20):
        assert bookings.put(str(number)) == 202
    until(lambda: len(bookings.office.letters) == 20)
    until(lambda: bookings.number("XLEN", "bookings") <= 2)  # those that tidy


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_chart_takes_the_values(library: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(dict(BLOCKS)[f"{library}-values.yaml"])
    objects = render(None, file)
    worker = objects.one("Deployment", "demo-fastapi-service-letters")
    pod = worker["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 305
    (container,) = pod["containers"]
    assert {"name": "management", "containerPort": 9000} in container["ports"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/metrics", "port": "management"}
    assert "QUEUE_URL" in {each["name"] for each in container["env"]}
    objects.one("PodMonitor", "demo-fastapi-service-letters")


def test_the_code_is_tidy(tmp_path: Path) -> None:
    for name, code in BLOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    ruff = [sys.executable, "-m", "ruff"]
    config = f"--config={ROOT / 'pyproject.toml'}"
    for command in (["check", "--config=src=['.']"], ["format", "--check", "--diff"]):
        done = subprocess.run([*ruff, *command, config, "."], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
