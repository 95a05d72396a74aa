"""The process as a whole: a real one for most, in process where only a look inside tells."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

import app as package
from app.cli import main
from app.data import migrate
from app.main import create_service
from app.observability.probes import Health
from app.security import dev_token
from app.server import Lifecycle, ServeError, address, listen
from app.settings import Settings

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]

ROOT = Path(package.__file__).parent.parent
BODY = b'{"url": "https://example.com", "slug": "page"}'


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


class App:
    """`python -m app` on free ports, in a directory of its own."""

    def __init__(self, directory: Path, **variables: str) -> None:
        self.directory = directory
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(directory),
            "APP_PORT": "0",
            "APP_MANAGEMENT_PORT": "0",
            "APP_DRAIN_DELAY_SECONDS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=directory,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        until(lambda: self.logged("serving") or self.process.poll() is not None)
        assert self.process.poll() is None, (self.log, self.process.communicate())
        (serving,) = (line for line in self.log if line["message"] == "serving")
        self.public, self.management = (
            urlsplit(serving["labels.public"]).netloc,
            urlsplit(serving["labels.management"]).netloc,
        )

    def _read(self) -> None:
        assert self.process.stdout
        self.log.extend(json.loads(line) for line in iter(self.process.stdout.readline, ""))

    def logged(self, event: str) -> bool:
        return any(line["message"] == event for line in list(self.log))

    def get(self, path: str) -> http.client.HTTPResponse:
        """From the port that has the path, over a new connection."""
        probe = path in ("/readyz", "/livez", "/metrics")
        connection = http.client.HTTPConnection(self.management if probe else self.public, timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        self.body = response.read()
        connection.close()
        return response

    def begin_request(self) -> socket.socket:
        """Half of a request to make a link; the other half is `BODY[20:]`."""
        key = dev_token.obtain_key(self.directory / "shipshape" / "dev-key.json")
        settings = Settings()
        token = dev_token.mint(
            key,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            subject="dev",
            scope="links:write",
            expires_in=60,
        )
        host, _, port = self.public.partition(":")
        half = socket.create_connection((host, int(port)), timeout=30)
        head = (
            f"POST /api/v1/links HTTP/1.1\r\nHost: {self.public}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        half.sendall(head.encode() + BODY[:20])
        until(lambda: self.get("/metrics").status == 200 and b"http_requests_in_flight 1.0" in self.body)
        return half

    def accepts(self) -> bool:
        host, _, port = self.public.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=30).close()
        except OSError:
            return False
        return True

    def end(self) -> tuple[int, str]:
        """Wait for the process; its exit code and what it said on stderr."""
        code = self.process.wait(timeout=60)
        self.reader.join()
        assert self.process.stderr
        assert self.process.stdout
        said = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return code, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., App]]:
    started: list[App] = []

    def start(**variables: str) -> App:
        started.append(App(tmp_path, **variables))
        return started[-1]

    yield start
    for app in started:
        if app.process.poll() is None:
            app.process.kill()
            app.end()


def test_serves_alone_and_says_where(start: Callable[..., App]) -> None:
    app = start()
    assert app.get("/").status == 200
    assert "Server" not in app.get("/").headers
    until(lambda: app.get("/readyz").status == 200)
    assert app.logged("to make links, mint a token: python -m app token")
    app.process.terminate()
    assert app.end() == (0, "")
    assert app.log[-1]["message"] == "stopped"


def test_while_draining_it_is_not_ready_but_serves(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_DELAY_SECONDS="60")
    failures: list[BaseException] = []
    answers: list[http.client.HTTPResponse] = []
    enough = threading.Event()

    def load() -> None:
        """Requests over one kept-alive connection, or a new one when asked to leave."""
        connection = http.client.HTTPConnection(app.public, timeout=30)
        try:
            while not enough.is_set():
                connection.request("GET", "/unknown")
                answers.append(connection.getresponse())
                answers[-1].read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)
        connection.close()

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: len(answers) > 100)
    until(lambda: app.get("/readyz").status == 200)
    app.process.terminate()
    until(lambda: app.get("/readyz").status == 503)
    assert json.loads(app.body)["checks"]["drain"] == "draining"
    asked = len(answers)
    until(lambda: len(answers) > asked + 100)
    assert app.get("/livez").status == 200
    enough.set()
    for client in clients:
        client.join()
    assert failures == []
    assert {answer.status for answer in answers} == {404}
    assert {answer.getheader("connection") for answer in answers[:50]} == {None}
    assert {answer.getheader("connection") for answer in answers[-50:]} == {"close"}

    app.process.terminate()  # the second signal ends it at once
    code, said = app.end()
    assert (code, said) == (128 + signal.SIGTERM, "")
    assert app.log[-1]["message"] == "second signal: ending at once"


def test_a_request_in_flight_is_finished_while_no_new_one_is_accepted(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_DELAY_SECONDS="0.1")
    half = app.begin_request()
    app.process.terminate()
    until(lambda: not app.accepts())
    assert app.get("/readyz").status == 503
    half.sendall(BODY[20:])
    response = http.client.HTTPResponse(half)
    response.begin()
    assert (response.status, response.getheader("connection")) == (201, "close")
    assert json.loads(response.read())["slug"] == "page"
    half.close()
    assert app.end() == (0, "")


def test_a_request_that_takes_too_long_is_cut_off(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_TIMEOUT_SECONDS="0.2")
    half = app.begin_request()
    app.process.terminate()
    assert app.end()[0] == 1
    half.close()
    (line,) = (line for line in app.log if line["message"] == "out of time: requests cut off")
    assert line["labels.requests"] == 1
    assert app.log[-1]["message"] == "stopped"


def test_a_second_interrupt_does_not_wait_for_anything(start: Callable[..., App]) -> None:
    app = start()
    half = app.begin_request()
    app.process.send_signal(signal.SIGINT)
    until(lambda: app.logged("stopping"))
    app.process.send_signal(signal.SIGINT)
    assert app.end()[0] == 128 + signal.SIGINT
    half.close()


@pytest.mark.parametrize("variable", ["APP_PORT", "APP_MANAGEMENT_PORT"])
def test_a_taken_port_is_told_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("APP_PORT", "APP_MANAGEMENT_PORT"):
            monkeypatch.setenv(name, str(port) if name == variable else "0")
        assert main(["serve"]) == 1
    expected = f"{variable}: cannot listen on 127.0.0.1 port {port}: Address already in use. Stop"
    assert capsys.readouterr().err.startswith(expected)


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ServeError, match=r"APP_PORT: cannot listen on 192\.0\.2\.1 port 0: Cannot assign"):
        listen("192.0.2.1", 0, "APP")
    with pytest.raises(ServeError, match=r"APP_PORT: cannot listen on no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0, "APP")


def test_addresses_are_shown_as_urls() -> None:
    with listen("127.0.0.1", 0, "APP") as four, listen("::1", 0, "APP") as six:
        assert address(four).startswith("http://127.0.0.1:")
        assert address(six).startswith("http://[::1]:")


class TestInProcess:
    @pytest.fixture
    def run(self, settings: Settings, log_lines: Logs, until: Until) -> Callable[..., int]:
        """Runs a lifecycle, does `then` once it has started (or at once), and returns its exit code."""
        del log_lines

        def run(then: Callable[[Lifecycle], object], *, started: bool = True, **changes: Any) -> int:
            async def run() -> int:
                chosen = settings.model_copy(update={"drain_delay_seconds": 60} | changes)
                await migrate.migrate(chosen)
                lifecycle = Lifecycle(chosen, create_service(chosen))
                with listen("127.0.0.1", 0, "APP") as public, listen("127.0.0.1", 0, "APP") as management:
                    running = asyncio.create_task(lifecycle.run(public, management))
                    await asyncio.sleep(0)
                    await until(lambda: not started or lifecycle.health.started or running.done())
                    then(lifecycle)
                    return await running

            return uvloop.run(run())

        return run

    @staticmethod
    def terminate(_lifecycle: Lifecycle) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def test_a_clean_end(self, run: Callable[..., int], log_lines: Logs) -> None:
        assert run(self.terminate, drain_delay_seconds=0.05) == 0
        steps = ["serving", "stopping", "draining: not ready, still serving", "stopped"]
        assert [line["message"] for line in log_lines() if line["message"] in steps] == steps

    def test_before_it_has_started_there_is_nothing_to_drain(self, run: Callable[..., int], log_lines: Logs) -> None:
        assert run(self.terminate, started=False) == 0
        assert {"serving", "draining: not ready, still serving"}.isdisjoint(line["message"] for line in log_lines())

    def test_a_request_that_takes_too_long_is_cut_off(
        self, run: Callable[..., int], log_lines: Logs, until: Until
    ) -> None:
        client = socket.socket()
        tasks = set()

        async def begin_request(lifecycle: Lifecycle) -> None:
            client.connect(lifecycle.public.servers[0].sockets[0].getsockname())
            client.sendall(b"POST /api/v1/links HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\n")
            await until(lambda: lifecycle.public.server_state.tasks)
            self.terminate(lifecycle)

        def then(lifecycle: Lifecycle) -> None:
            tasks.add(asyncio.create_task(begin_request(lifecycle)))

        assert run(then, drain_delay_seconds=0, drain_timeout_seconds=0.1) == 1
        (line,) = (line for line in log_lines() if line["message"] == "out of time: requests cut off")
        assert (line["labels.requests"], line["labels.seconds"]) == (1, 0.1)
        client.close()

    def test_no_time_at_all_is_clean_when_there_is_nothing_to_finish(self, run: Callable[..., int]) -> None:
        assert run(self.terminate, drain_delay_seconds=0, drain_timeout_seconds=0) == 0

    @pytest.mark.parametrize("name", ["public", "management"])
    def test_when_a_server_dies_so_does_the_process(self, run: Callable[..., int], log_lines: Logs, name: str) -> None:
        def die(lifecycle: Lifecycle) -> None:
            getattr(lifecycle, name).should_exit = True

        assert run(die) == 1
        assert "a server ended by itself, and so does the process" in [line["message"] for line in log_lines()]

    def test_also_while_draining(self, run: Callable[..., int], log_lines: Logs) -> None:
        def die(lifecycle: Lifecycle) -> None:
            self.terminate(lifecycle)
            lifecycle.management.should_exit = True

        assert run(die) == 1
        assert log_lines()[-1]["message"] == "stopped"

    def test_a_server_that_cannot_start_is_told(
        self, run: Callable[..., int], log_lines: Logs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when a resource that the lifespan opens is not to be had."""
        monkeypatch.setattr(Health, "watching", None)
        assert run(lambda _: None) == 1
        assert any("TypeError" in str(line) for line in log_lines())
