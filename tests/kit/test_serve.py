"""keel.serve: an application that knows nothing of the kit, served as the chart wants it."""

import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.support.foreign import FOREIGN, Foreign
from tests.support.processes import until


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Foreign]]:
    started: list[Foreign] = []

    def serve(*arguments: str, **variables: str) -> Foreign:
        started.append(Foreign(tmp_path, *(arguments or ("-m", "keel.serve", "main:app")), **variables))
        return started[-1]

    yield serve
    for each in started:
        each.process.kill()
        each.ended()


def test_probes_metrics_and_logs(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 200)
    answer, body = foreign.ask("/hello/you")
    assert (answer.status, body) == (200, '"you"')
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert foreign.ask("/broken")[0].status == 500
    assert foreign.ask("/nowhere/at/all")[0].status == 404
    metrics = foreign.metrics()
    count = "http_request_duration_seconds_count"
    assert f'{count}{{method="GET",route="/hello/{{name}}",status="200"}} 1.0' in metrics
    assert f'{count}{{method="GET",route="/broken",status="500"}} 1.0' in metrics
    assert f'{count}{{method="GET",route="unmatched",status="404"}} 1.0' in metrics
    assert "greeted_total 1.0" in metrics
    assert metrics.count("# TYPE process_cpu_seconds_total counter") <= 1
    assert foreign.logged("GET /hello/you 200")
    assert foreign.end() == 0
    assert [line.strip() for line in foreign.lines if not line.startswith("{")] == ["begun", "ended"]


def test_the_drain_finishes_what_has_begun(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    answers: list[int] = []
    request = threading.Thread(target=lambda: answers.append(foreign.ask("/slow?seconds=1")[0].status))
    request.start()
    until(lambda: "http_requests_in_flight 1.0" in foreign.metrics())
    assert foreign.end() == 0
    request.join()
    assert answers == [200]


def test_it_is_not_ready_while_it_drains(serve: Callable[..., Foreign]) -> None:
    foreign = serve(APP_DRAIN_DELAY_SECONDS="20")
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 200)
    foreign.process.send_signal(signal.SIGTERM)
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 503)
    answer, _ = foreign.ask("/hello/you")
    assert (answer.status, answer.headers["connection"]) == (200, "close")


def test_work_after_the_response_is_no_part_of_the_request_and_waited_for(
    serve: Callable[..., Foreign], tmp_path: Path
) -> None:
    foreign, done = serve(), tmp_path / "done"
    assert foreign.ask(f"/later?file={done}")[0].status == 200
    assert not done.exists()
    seconds = re.search(r'duration_seconds_sum\{method="GET",route="/later",status="200"\} (\S+)', foreign.metrics())
    assert seconds
    assert float(seconds[1]) < 0.4
    assert foreign.end() == 0
    assert done.read_text() == "done"


def test_one_line_in_its_own_code(serve: Callable[..., Foreign]) -> None:
    """With checks of its own: a pod is not ready before they have passed."""
    foreign = serve("main.py")
    until(lambda: "unreachable" in foreign.ask("/readyz", management=True)[1])
    assert foreign.ask("/readyz", management=True)[0].status == 503
    assert foreign.ask("/livez", management=True)[0].status == 200
    metrics = foreign.metrics()
    assert 'dependency_up{dependency="store"} 0.0' in metrics
    assert 'version="1.2.3"' in metrics


def test_any_asgi_application(serve: Callable[..., Foreign]) -> None:
    foreign = serve("-m", "keel.serve", "main:plain", "--name", "plain")
    assert foreign.ask("/")[0].status == 204
    assert foreign.end() == 0


def test_a_factory(serve: Callable[..., Foreign]) -> None:
    foreign = serve("-m", "keel.serve", "main:make", "--factory")
    assert foreign.ask("/hello/you")[0].status == 200


def test_a_websocket_is_passed_through(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    with connect(f"ws://{foreign.public}/echo/you") as websocket:
        assert websocket.response
        assert re.fullmatch("[0-9a-f]{32}", websocket.response.headers["x-request-id"])
        websocket.send("hello")
        assert websocket.recv(timeout=30) == "you: hello"
        assert 'websockets_open{route="/echo/{name}"} 1.0' in foreign.metrics()
    until(lambda: 'websockets_open{route="/echo/{name}"} 0.0' in foreign.metrics())
    assert 'websocket_messages_total{direction="sent",route="/echo/{name}"} 1.0' in foreign.metrics()
    assert 'duration_seconds_count{method="GET",route="/echo/{name}",status="101"} 1.0' in foreign.metrics()
    until(lambda: bool(foreign.logged("GET /echo/you 101")))
    (line,) = foreign.logged("GET /echo/you 101")
    assert (line["http.request.body.bytes"], line["http.response.body.bytes"]) == (5, 10)
    assert (line["http.route"], line["event.outcome"]) == ("/echo/{name}", "success")
    assert line["http.request.id"] == websocket.response.headers["x-request-id"]


@pytest.mark.parametrize(("name", "status"), [("nobody", 403), ("early", 500)])
def test_a_websocket_that_is_not_accepted(serve: Callable[..., Foreign], name: str, status: int) -> None:
    foreign = serve()
    with pytest.raises(InvalidStatus) as raised, connect(f"ws://{foreign.public}/echo/{name}"):
        pass
    assert raised.value.response.status_code == status
    until(lambda: bool(foreign.logged(f"GET /echo/{name} {status}")))
    assert "labels.close_code" not in foreign.logged(f"GET /echo/{name} {status}")[0]
    assert f'duration_seconds_count{{method="GET",route="/echo/{{name}}",status="{status}"}} 1.0' in foreign.metrics()


def test_a_websocket_that_breaks(serve: Callable[..., Foreign]) -> None:
    foreign = serve()
    with connect(f"ws://{foreign.public}/echo/you") as websocket:
        websocket.send("break")
        with pytest.raises(ConnectionClosed):
            websocket.recv(timeout=30)
    until(lambda: bool(foreign.logged("GET /echo/you 101")))
    (line,) = foreign.logged("GET /echo/you 101")
    assert (line["event.outcome"], line["labels.close_code"]) == ("failure", 1006)
    assert 'websockets_ended_total{code="1006",route="/echo/{name}"} 1.0' in foreign.metrics()
    assert 'websockets_open{route="/echo/{name}"} 0.0' in foreign.metrics()


def test_a_websocket_goes_on_until_the_port_closes(serve: Callable[..., Foreign]) -> None:
    foreign = serve(APP_DRAIN_DELAY_SECONDS="1", APP_DRAIN_TIMEOUT_SECONDS="4")
    until(lambda: foreign.ask("/readyz", management=True)[0].status == 200)
    with connect(f"ws://{foreign.public}/echo/you") as websocket:
        foreign.process.send_signal(signal.SIGTERM)
        until(lambda: foreign.ask("/readyz", management=True)[0].status == 503)
        websocket.send("still")
        assert websocket.recv(timeout=30) == "you: still"
        with pytest.raises(ConnectionClosed) as raised:
            websocket.recv(timeout=30)
        assert raised.value.rcvd
        assert raised.value.rcvd.code == 1012
    assert foreign.ended() == 0
    assert [line["labels.close_code"] for line in foreign.logged("GET /echo/you 101")] == [1012]


def test_an_event_stream_ends_in_the_drain(serve: Callable[..., Foreign]) -> None:
    """Whatever library makes it: the client is told when to come back, and the exit is clean."""
    foreign = serve(APP_DRAIN_TIMEOUT_SECONDS="2", APP_REQUEST_TIMEOUT_SECONDS="0.2")
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(foreign.ask("/events")[1]))
    client.start()
    until(lambda: "streams_open 1.0" in foreign.metrics())
    assert "http_requests_in_flight 0.0" in foreign.metrics()
    assert foreign.end() == 0
    client.join()
    assert re.fullmatch(r"(data: event\n\n)+retry: \d+\n\n", answers[0])
    assert foreign.logged("GET /events 200")[0]["event.outcome"] == "success"


def test_without_a_library_a_websocket_is_a_request(serve: Callable[..., Foreign]) -> None:
    code = "import sys; sys.modules['websockets'] = sys.modules['wsproto'] = None; from keel.serve import main; main()"
    foreign = serve("-c", code)
    with pytest.raises(InvalidStatus) as raised, connect(f"ws://{foreign.public}/echo/you"):
        pass
    assert raised.value.response.status_code == 404


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "sentence"),
    [
        (["main"], {}, 2, "'main' names no application: write MODULE:NAME, as main:app."),
        (["nowhere:app"], {}, 2, "There is no module nowhere in "),
        (["main:nothing"], {}, 2, "The module main has no nothing."),
        (["main:number"], {}, 2, "main:number is no ASGI application: it cannot be called."),
        (["main:app"], {"APP_PORT": "http"}, 2, "APP_PORT: must be a valid integer"),
        (["main:app"], {"APP_HOST": "203.0.113.1"}, 1, "APP_PORT: cannot listen on 203.0.113.1"),
        (["main:app", "--workers", "0"], {}, 2, "--workers: it takes one at least"),
        (["main:app", "--workers", "2"], {"APP_HOST": "203.0.113.1"}, 1, "APP_PORT: cannot listen on 203.0.113.1"),
        (
            ["main:nothing", "--workers", "2"],
            {"APP_PORT": "0", "APP_MANAGEMENT_PORT": "0"},
            2,
            "The module main has no nothing.",
        ),
        (["main:app"], {"WEB_CONCURRENCY": "many"}, 2, "invalid int value: 'many'"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], variables: dict[str, str], code: int, sentence: str) -> None:
    (tmp_path / "main.py").write_text(textwrap.dedent(FOREIGN))
    command = [sys.executable, "-m", "keel.serve", *arguments]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert done.stderr.count(sentence) == 1
    assert "Traceback" not in done.stderr


def test_an_import_that_fails_in_the_application_is_its_own(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import no_such_library\n")
    command = [sys.executable, "-m", "keel.serve"]
    done = subprocess.run(command, check=False, cwd=tmp_path, env={}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "No module named 'no_such_library'" in done.stderr
