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
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from keel.cli import main
from keel.data import migrate
from keel.observability.probes import Health
from keel.server import Lifecycle, ServeError, address, listen
from tests.kit.subject import SERVICE, Settings
from tests.support.processes import App, until

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]

BODY = b'{"name": "page"}'


def test_serves_alone_and_says_where(start: Callable[..., App]) -> None:
    app = start()
    assert app.get("/").status == 200
    assert "Server" not in app.get("/").headers
    until(lambda: app.get("/readyz").status == 200)
    assert app.logged("to use the API, mint a token: python -m tests.probe token")
    app.process.terminate()
    assert app.end() == (0, "")
    assert app.log[-1]["message"] == "stopped"


def test_while_draining_it_is_not_ready_but_serves(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_DELAY_SECONDS="60")
    failures: list[BaseException] = []
    answers: list[list[http.client.HTTPResponse]] = [[] for _ in range(4)]  # of each client
    enough = threading.Event()

    def load(own: list[http.client.HTTPResponse]) -> None:
        """Requests over one kept-alive connection, or a new one when asked to leave."""
        connection = http.client.HTTPConnection(app.public, timeout=30)
        try:
            while not enough.is_set():
                connection.request("GET", "/api/v1/things/unknown")
                own.append(connection.getresponse())
                own[-1].read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)
        connection.close()

    clients = [threading.Thread(target=load, args=[own]) for own in answers]
    for client in clients:
        client.start()
    until(lambda: all(len(own) > 20 for own in answers))
    until(lambda: app.get("/readyz").status == 200)
    before = [len(own) for own in answers]
    app.process.terminate()
    until(lambda: app.get("/readyz").status == 503)
    assert json.loads(app.body)["checks"]["drain"] == "draining"
    until(lambda: all(own[-1].getheader("connection") == "close" for own in answers))
    asked = [len(own) for own in answers]
    until(lambda: all(len(own) > number + 20 for own, number in zip(answers, asked, strict=True)))
    assert app.get("/livez").status == 200
    enough.set()
    for client in clients:
        client.join()
    assert failures == []
    for own, ready, draining in zip(answers, before, asked, strict=True):
        assert {answer.status for answer in own} == {404}
        assert {answer.getheader("connection") for answer in own[:ready]} == {None}
        assert {answer.getheader("connection") for answer in own[draining:]} == {"close"}

    app.process.terminate()  # the second signal ends it at once
    code, said = app.end()
    assert (code, said) == (128 + signal.SIGTERM, "")
    assert app.log[-1]["message"] == "second signal: ending at once"


def test_a_request_in_flight_is_finished_while_no_new_one_is_accepted(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_DELAY_SECONDS="0.1")
    half = app.begin_request("/api/v1/things", BODY, "things:write")
    app.process.terminate()
    until(lambda: not app.accepts())
    assert app.get("/readyz").status == 503
    half.sendall(BODY[len(BODY) // 2 :])
    response = http.client.HTTPResponse(half)
    response.begin()
    assert (response.status, response.getheader("connection")) == (201, "close")
    assert json.loads(response.read())["name"] == "page"
    half.close()
    assert app.end() == (0, "")


def test_a_request_that_takes_too_long_is_cut_off(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_TIMEOUT_SECONDS="0.2")
    half = app.begin_request("/api/v1/things", BODY, "things:write")
    app.process.terminate()
    assert app.end()[0] == 1
    half.close()
    (line,) = (line for line in app.log if line["message"] == "out of time: requests cut off")
    assert line["labels.requests"] == 1
    assert app.log[-1]["message"] == "stopped"


def test_a_body_that_does_not_come_holds_up_no_drain(start: Callable[..., App]) -> None:
    app = start(APP_DRAIN_TIMEOUT_SECONDS="300")
    half = app.begin_request("/api/v1/things", BODY, "things:write")
    app.process.terminate()
    response = http.client.HTTPResponse(half)
    response.begin()
    assert (response.status, response.getheader("connection")) == (503, "close")
    assert response.getheader("retry-after") == "5"
    # The client does not close the connection.
    assert app.end() == (0, "")
    assert not app.logged("out of time: requests cut off")
    response.close()
    half.close()


def test_heads_without_bodies_keep_nobody_out(start: Callable[..., App]) -> None:
    app = start(APP_MAX_CONCURRENT_REQUESTS="3")
    halves = [app.begin_request("/api/v1/things", BODY, "things:write") for _ in range(5)]
    statuses = []
    for half in halves[1:]:  # one has the one place of its address
        response = http.client.HTTPResponse(half)
        response.begin()
        statuses.append(response.status)
    assert statuses == [429] * 4
    assert app.get("/api/v1/things/unknown").status == 404
    halves[0].sendall(BODY[len(BODY) // 2 :])
    response = http.client.HTTPResponse(halves[0])
    response.begin()
    assert response.status == 201
    for half in halves:
        half.close()


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST /api/v1/things", 401),
        ("POST /api/v1/things", 403),
        ("POST /api/v1/things", 415),
        ("PUT /api/v1/things", 405),
        ("POST /api/v1/nothing", 404),
    ],
)
def test_what_the_head_decides_waits_for_no_body(start: Callable[..., App], head: str, status: int) -> None:
    app = start()
    scope = "things:read" if status == 403 else "things:write"
    token = "" if status == 401 else f"Authorization: Bearer {app.token(scope)}\r\n"
    kind = "text/plain" if status == 415 else "application/json"
    with socket.create_connection(app.public.split(":"), timeout=30) as client:
        lines = f"Host: localhost\r\n{token}Content-Type: {kind}\r\nContent-Length: 50"
        client.sendall(f"{head} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        response = http.client.HTTPResponse(client)
        response.begin()
    assert response.status == status


def test_a_second_interrupt_does_not_wait_for_anything(start: Callable[..., App]) -> None:
    app = start()
    half = app.begin_request("/api/v1/things", BODY, "things:write")
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
        assert main(SERVICE, ["serve"]) == 1
    expected = f"{variable}: cannot listen on 127.0.0.1 port {port}: Address already in use. Stop"
    assert capsys.readouterr().err.startswith(expected)


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ServeError, match=r"APP_PORT: cannot listen on 192\.0\.2\.1 port 0: Cannot assign"):
        listen("192.0.2.1", 0, "APP")
    with pytest.raises(ServeError, match=r"APP_PORT: cannot listen on no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 0, "APP")


def test_both_families_and_addresses_of_ipv4_as_such(tmp_path: Path) -> None:
    """On a socket for both a client of IPv4 is ::ffff:127.0.0.1, which neither trust nor limits would know."""
    app = App(SERVICE, tmp_path, APP_HOST="::", APP_TRUSTED_PROXIES="127.0.0.1")
    try:
        port = int(app.public.rpartition(":")[2])
        for host, headers in (("127.0.0.1", {}), ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}), ("::1", {})):
            connection = http.client.HTTPConnection(host, port, timeout=30)
            connection.request("GET", "/", headers=headers)
            assert connection.getresponse().read()
            connection.close()
        until(lambda: sum(line.get("url.path") == "/" for line in list(app.log)) == 3)
        clients = [line["client.address"] for line in app.log if line.get("url.path") == "/"]
        assert clients == ["127.0.0.1", "203.0.113.9", "::1"]
    finally:
        app.process.terminate()
        app.end()


def test_both_families_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("::", 0, "APP") as listener:
        assert address(listener).startswith("http://0.0.0.0:")


def test_more_connections_than_there_may_be_wait_and_probes_do_not(start: Callable[..., App]) -> None:
    app = start(APP_MAX_CONNECTIONS="2")
    host, port = app.public.split(":")
    with socket.create_connection((host, int(port)), 30) as first, socket.create_connection((host, int(port)), 30):
        until(lambda: app.get("/metrics").status == 200 and b"\nhttp_connections 2.0" in app.body)
        assert b"\nhttp_connections_limit 2.0" in app.body
        late = http.client.HTTPConnection(app.public, timeout=30)
        late.request("GET", "/api/v1/things/unknown")
        until(lambda: app.logged("the limit of connections is reached: more wait to be accepted"))
        assert app.get("/livez").status == 200
        first.close()
        assert late.getresponse().status == 404
        late.close()


def test_open_files_are_allowed_for_and_fewer_connections_where_they_are_not() -> None:
    """In a process of its own: a hard limit that was lowered is not raised again."""
    code = (
        "import resource; from keel.server import allow_connections; file = resource.RLIMIT_NOFILE\n"
        "resource.setrlimit(file, (300, 1000))\n"
        "print([(allow_connections(wanted), resource.getrlimit(file)[0]) for wanted in (50, 500, 2000)])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60).stdout
    assert said.splitlines()[-1] == "[(50, 300), (500, 700), (800, 1000)]"
    assert "fewer connections than APP_MAX_CONNECTIONS" in said


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
                lifecycle = Lifecycle(chosen, SERVICE.build(chosen))
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
        self, run: Callable[..., int], log_lines: Logs, until: Until, mint: Callable[..., str]
    ) -> None:
        client = socket.socket()
        tasks = set()

        async def begin_request(lifecycle: Lifecycle) -> None:
            client.connect(lifecycle.public.servers[0].sockets[0].getsockname())
            head = (
                f"Host: test\r\nAuthorization: Bearer {mint()}\r\nContent-Type: application/json\r\nContent-Length: 1"
            )
            client.sendall(f"POST /api/v1/things HTTP/1.1\r\n{head}\r\n\r\n".encode())
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
        assert "a server ended by itself: ending the process" in [line["message"] for line in log_lines()]

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
