"""Large bodies, and work after a response, in a process of its own: how much memory, and what the drain does."""

import http.client
import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.files.main import SERVICE
from tests.support.processes import App, until

MIB = 1024 * 1024
MOST_MIB = 20
BOUNDARY = b"--x\r\n"
HEAD = b'Content-Disposition: form-data; name="%s"; filename="page"\r\nContent-Type: image/png\r\n\r\n'
END = b"\r\n--x--\r\n"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., App]]:
    started: list[App] = []

    def serve(**variables: str) -> App:
        started.append(App(SERVICE, tmp_path, **variables))
        return started[-1]

    yield serve
    for app in started:
        if app.process.poll() is None:
            app.kill()


class Upload(io.RawIOBase):
    """A body of so many MiB, made as it is read; with the name of a part, it is a form."""

    def __init__(self, mib: int, part: bytes | None) -> None:
        begin, end = (b"", b"") if part is None else (BOUNDARY + HEAD % part, END)
        self.length = len(begin) + mib * MIB + len(end)
        self._pieces = iter([begin, *[bytes(range(256)) * 256] * (mib * 16), end])

    def read(self, _size: int = -1) -> bytes:
        return next((piece for piece in self._pieces if piece), b"")


def send(app: App, method: str, path: str, mib: int, part: bytes | None) -> int:
    connection = http.client.HTTPConnection(app.public, timeout=100)
    body = Upload(mib, part)
    headers = {"Content-Length": str(body.length), "Content-Type": "multipart/form-data; boundary=x"}
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    assert str(mib * MIB) in said.decode(), (answer.status, said)
    return answer.status


def memory_mib(app: App, kind: str) -> float:
    said = Path(f"/proc/{app.process.pid}/status").read_text()
    found = re.search(rf"^{kind}:\s+(\d+) kB$", said, re.M)
    assert found
    return int(found[1]) / 1024


@pytest.mark.parametrize(
    ("method", "path", "part"),
    [
        ("PUT", "/api/v1/files/page", None),
        ("POST", "/api/v1/pictures", b"picture"),
        ("POST", "/api/v1/counts", None),
        ("POST", "/api/v1/forms", b"file"),
    ],
)
@pytest.mark.parametrize(("uploads", "mib"), [(1, 200), (10, 20)])
def test_an_upload_takes_no_memory(
    serve: Callable[..., App], method: str, path: str, part: bytes | None, uploads: int, mib: int
) -> None:
    app = serve()
    send(app, method, path, 1, part)  # what is loaded with the first is not of the upload
    before = memory_mib(app, "VmRSS")
    Path(f"/proc/{app.process.pid}/clear_refs").write_text("5")  # the peak is measured anew
    with ThreadPoolExecutor(uploads) as senders:
        assert set(senders.map(lambda _: send(app, method, path, mib, part), range(uploads))) <= {200, 201}
    rise = memory_mib(app, "VmHWM") - before
    assert rise <= MOST_MIB


def begin_upload(app: App, length: int) -> socket.socket:
    host, _, port = app.public.partition(":")
    half = socket.create_connection((host, int(port)), timeout=30)
    half.sendall(b"PUT /api/v1/files/page HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
    app.until_metric("http_requests_in_flight 1.0")
    return half


def response(half: socket.socket) -> tuple[int, str | None]:
    """Its status, and what it says of the connection, which is closed."""
    with half, http.client.HTTPResponse(half) as answer:
        answer.begin()
        return answer.status, answer.getheader("connection")


def test_the_drain_waits_for_an_upload_that_goes_on(serve: Callable[..., App]) -> None:
    app = serve(APP_TRUSTED_HOSTS="x")
    half = begin_upload(app, 40)
    app.process.terminate()
    until(lambda: not app.accepts())
    pause = threading.Event()
    for _ in range(40):  # longer than a body of another route is waited for
        half.sendall(b"x")
        pause.wait(0.08)
    assert response(half) == (201, "close")
    assert app.end() == (0, "")
    assert (app.directory / "files" / "page").read_bytes() == b"x" * 40


def test_the_drain_does_not_wait_for_an_upload_that_stalls(serve: Callable[..., App]) -> None:
    app = serve(APP_TRUSTED_HOSTS="x")
    half = begin_upload(app, 40)
    half.sendall(b"x")
    app.process.terminate()
    assert response(half) == (503, "close")
    assert app.end() == (0, "")
    assert list((app.directory / "files").iterdir()) == []


def status(connection: http.client.HTTPConnection, method: str, path: str) -> int:
    connection.request(method, path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def work(app: App, seconds: float) -> None:
    connection = http.client.HTTPConnection(app.public, timeout=30)
    assert status(connection, "POST", f"/api/v1/work?seconds={seconds}") == 202
    until(lambda: app.logged("work begins"))
    assert status(connection, "GET", "/") == 200  # the same connection is free for the next request
    connection.close()


def test_work_after_a_response_has_no_limit_and_holds_nobody_up(serve: Callable[..., App]) -> None:
    app = serve(APP_REQUEST_TIMEOUT_SECONDS="0.5", APP_MAX_CONCURRENT_REQUESTS="1")
    work(app, 1.5)
    assert app.get("/").status == 200
    until(lambda: app.logged("work is done"))
    metrics = app.text("/metrics")
    assert "http_requests_in_flight 0.0" in metrics
    measured = re.search(r'duration_seconds_sum\{method="POST",route="/api/v1/work",status="202"\} (.+)', metrics)
    assert measured
    assert float(measured[1]) < 1  # the work takes longer
    (line,) = (line for line in app.log if line["message"] == "POST /api/v1/work 202")
    assert line["event.duration"] < 1e9
    assert not [line for line in app.log if line["log.level"] == "error"]


def test_the_drain_waits_for_work_after_a_response(serve: Callable[..., App]) -> None:
    app = serve()
    work(app, 1)
    app.process.terminate()
    assert app.end() == (0, "")
    messages = [line["message"] for line in app.log]
    assert messages.index("work is done") < messages.index("stopped")


def test_work_that_takes_longer_than_the_drain_is_cut_off_and_named(serve: Callable[..., App]) -> None:
    app = serve(APP_DRAIN_TIMEOUT_SECONDS="0.3")
    work(app, 60)
    app.process.terminate()
    assert app.end()[0] == 1
    (line,) = (line for line in app.log if line["message"] == "work after the response was cut off")
    assert (line["log.level"], line["labels.route"]) == ("error", "/api/v1/work")


def test_work_that_fails_is_logged_and_costs_no_other_request(serve: Callable[..., App]) -> None:
    app = serve()
    connection = http.client.HTTPConnection(app.public, timeout=30)
    assert status(connection, "POST", "/api/v1/failures") == 202
    until(lambda: app.logged("work after the response failed"))
    (line,) = (line for line in app.log if line["message"] == "work after the response failed")
    assert "this work always fails" in str(line)
    held = connection.sock
    assert status(connection, "GET", "/") == 200
    assert connection.sock is held
    connection.close()
    assert "Exception in ASGI application" not in {line["message"] for line in app.log}
