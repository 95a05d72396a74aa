"""keel.serve with several workers: real processes, of which one is stopped, killed or slow."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import connect

from keel.workers import Worker
from tests.support.foreign import Foreign
from tests.support.processes import until

VISITS = 'http_request_duration_seconds_count{method="GET",route="/pid",status="200"}'
COMMAND = ("-m", "keel.serve", "main:app", "--workers", "2")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Foreign]]:
    started: list[Foreign] = []

    def serve(*arguments: str, **variables: str) -> Foreign:
        started.append(Foreign(tmp_path, *(arguments or COMMAND), **variables))
        return started[-1]

    yield serve
    for each in started:
        for number in (signal.SIGCONT, signal.SIGKILL):
            for pid in workers(each):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        each.process.kill()
        each.ended()


def workers(foreign: Foreign) -> list[int]:
    """The processes that serve, without the first one."""
    with contextlib.suppress(FileNotFoundError):
        pid = foreign.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def status(foreign: Foreign, path: str) -> int:
    return foreign.ask(path, management=True)[0].status


def value(foreign: Foreign, series: str) -> float:
    return in_metrics(foreign.metrics(), series)


def in_metrics(metrics: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE)
    assert found, series
    return float(found[1])


def visited(foreign: Foreign, requests: int) -> set[str]:
    """The processes that have answered so many requests, each on a connection of its own, four at once."""
    pids: list[str] = []

    def visit() -> None:
        pids.extend(foreign.ask("/pid")[1] for _ in range(requests // 4))

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    assert len(pids) == requests
    return set(pids)


def test_all_serve_and_their_metrics_are_one(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    until(lambda: status(foreign, "/readyz") == 200)
    assert len(workers(foreign)) == 2
    found: set[str] = set()
    requests = 0
    while len(found) < 2:
        found |= visited(foreign, 40)
        requests += 40
    assert found == {str(pid) for pid in workers(foreign)}
    assert value(foreign, 'http_request_duration_seconds_count{method="GET",route="/pid",status="200"}') == requests
    buckets = 'http_request_duration_seconds_bucket{le="+Inf",method="GET",route="/pid",status="200"}'
    assert value(foreign, buckets) == requests
    for _ in range(10):
        foreign.ask("/hello/you")
    assert value(foreign, "greeted_total") == 10
    assert value(foreign, "together") == 6
    assert [value(foreign, f'apart{{worker="{number}"}}') for number in range(2)] == [3, 3]
    assert value(foreign, "serve_workers") == 2
    assert value(foreign, "http_connections_limit") == 2000  # the pod's, as it is set
    assert foreign.end() == 0


def test_it_is_live_and_ready_if_all_are(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    until(lambda: status(foreign, "/readyz") == 200)
    visited(foreign, 40)
    before = value(foreign, VISITS)
    os.kill(workers(foreign)[1], signal.SIGSTOP)
    with ThreadPoolExecutor() as others:  # each is answered when the worker has had its time
        live, ready = (others.submit(foreign.ask, path, management=True) for path in ("/livez", "/readyz"))
        metrics = others.submit(foreign.metrics)
    answer, body = live.result()
    assert (answer.status, "worker 1" in body) == (503, True)
    assert ready.result()[0].status == 503
    # A sum that fell would be taken for a restart, and all of it counted again.
    assert in_metrics(metrics.result(), VISITS) == before
    assert in_metrics(metrics.result(), "serve_workers") == 1
    os.kill(workers(foreign)[1], signal.SIGCONT)
    until(lambda: status(foreign, "/livez") == 200 and status(foreign, "/readyz") == 200)


def test_checks_of_each_count(serve: Callable[..., Foreign]) -> None:
    foreign = serve("-c", "import main, keel.serve; keel.serve.run(main.app, checks={'store': main.away}, workers=2)")
    until(lambda: "unreachable" in foreign.ask("/readyz", management=True)[1])
    assert (status(foreign, "/readyz"), status(foreign, "/livez")) == (503, 200)
    assert value(foreign, 'dependency_up{dependency="store"}') == 0


def test_the_drain_finishes_what_has_begun_in_each(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    answers: list[int] = []
    requests = [
        threading.Thread(target=lambda: answers.append(foreign.ask("/slow?seconds=1")[0].status)) for _ in range(6)
    ]
    for each in requests:
        each.start()
    until(lambda: "http_requests_in_flight 6.0" in foreign.metrics())
    assert foreign.end() == 0
    for each in requests:
        each.join()
    assert answers == [200] * 6
    assert [line.strip() for line in foreign.lines if not line.startswith("{")] == ["begun"] * 2 + ["ended"] * 2


def test_it_is_not_ready_while_they_drain(serve: Callable[..., Foreign]) -> None:
    foreign = serve(APP_DRAIN_DELAY_SECONDS="20")
    until(lambda: status(foreign, "/readyz") == 200)
    foreign.process.send_signal(signal.SIGTERM)
    until(lambda: status(foreign, "/readyz") == 503)
    assert status(foreign, "/livez") == 200
    answer, _ = foreign.ask("/hello/you")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    foreign.process.send_signal(signal.SIGTERM)
    assert foreign.ended() == 128 + signal.SIGTERM  # the second one does not wait


def test_one_that_dies_ends_the_others_with_a_drain(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    until(lambda: status(foreign, "/readyz") == 200)
    other, victim = workers(foreign)
    answers: list[tuple[int, str]] = []

    def visit() -> None:
        with contextlib.suppress(OSError):  # those that the victim had
            answer, body = foreign.ask("/slow?seconds=1")
            answers.append((answer.status, body))

    before = value(foreign, "http_requests_in_flight")
    visitors = [threading.Thread(target=visit) for _ in range(20)]
    for each in visitors:
        each.start()
    until(lambda: value(foreign, "http_requests_in_flight") == before + 20)
    os.kill(victim, signal.SIGKILL)
    assert foreign.ended() == 1
    for each in visitors:
        each.join()
    assert set(answers) == {(200, '"slow"')}
    (line,) = foreign.logged("a worker ended by itself: ending the process")
    assert (line["labels.worker"], line["labels.exit_code"]) == (1, -signal.SIGKILL)
    assert not Path(f"/proc/{other}").exists()


def test_one_that_has_just_ended_is_sent_no_signal() -> None:
    """Workers that find the same mistake end in one moment. A failure here would hide the exit code of the first."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    Worker(0, ended.pid, 0).signal(signal.SIGTERM)


def test_no_worker_outlives_the_first_process(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    left = workers(foreign)
    assert len(left) == 2
    foreign.process.kill()
    foreign.process.wait(30)
    until(lambda: not any(_runs(pid) for pid in left))


def test_a_level_is_set_in_all(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    assert foreign.ask("/log-level", management=True, method="PUT", body='{"level": "warning"}')[0].status == 200
    visited(foreign, 40)
    assert foreign.ask("/log-level", management=True)[1] == '{"level":"warning"}'
    assert foreign.ask("/log-level", management=True, method="PUT", body='{"level": "loud"}')[0].status == 422
    assert foreign.end() == 0
    assert not foreign.logged("GET /pid 200")


def test_their_lines_do_not_mix(serve: Callable[..., Foreign]) -> None:
    """A pipe takes 4096 bytes at once, and each worker writes more: all the lines of some milliseconds."""
    foreign = serve()
    host, _, port = foreign.public.rpartition(":")
    request = f"GET /hello/{'x' * 200} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    def visit() -> None:
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request * 200)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < 200:
                answers += connection.recv(65536)

    visitors = [threading.Thread(target=visit) for _ in range(8)]
    for each in visitors:
        each.start()
    for each in visitors:
        each.join()
    assert foreign.end() == 0
    assert len(foreign.logged(f"GET /hello/{'x' * 200} 200")) == 1600


def test_websockets(serve: Callable[..., Foreign]) -> None:
    foreign = serve(APP_DRAIN_TIMEOUT_SECONDS="2")
    with connect(f"ws://{foreign.public}/echo/one") as one, connect(f"ws://{foreign.public}/echo/two") as two:
        for websocket, name in ((one, "one"), (two, "two")):
            websocket.send("hello")
            assert websocket.recv(timeout=30) == f"{name}: hello"
        assert value(foreign, 'websockets_open{route="/echo/{name}"}') == 2
        assert foreign.end() == 0


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only because nobody has asked how it ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
