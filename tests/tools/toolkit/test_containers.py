"""What is wrong with a container, and its restart. The container's own address is 127.0.0.2 here."""

import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from toolkit import containers
from toolkit.containers import Container, Published, look, mend
from toolkit.process import CommandFailed
from toolkit.progress import Progress

StandIn = Callable[[str, str], None]
Calls = Callable[[], list[str]]
OWN = "127.0.0.2"
UNREACHABLE = "255.255.255.255"
STARTED = datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC)


class Answers(BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.request.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")


class HangsUp(BaseRequestHandler):
    """As the engine's proxy does where nothing serves the port in the container."""


class IsSilent(BaseRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)
        self.request.recv(100)  # until the client gives up


@pytest.fixture(autouse=True)
def less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "PATIENCE", 0.3)


@pytest.fixture
def hardly_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server is waited for that answers."""
    monkeypatch.setattr(containers, "PATIENCE", 0.05)


@pytest.fixture
def port() -> int:
    """One that is free on both addresses."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def listen() -> Iterator[Callable[[str, int, type[BaseRequestHandler]], None]]:
    """Starts a server at an address."""
    with ExitStack() as stack:

        def start(address: str, port: int, handler: type[BaseRequestHandler]) -> None:
            server = stack.enter_context(ThreadingTCPServer((address, port), handler))
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            stack.callback(server.shutdown)

        yield start


Listen = Callable[[str, int, type[BaseRequestHandler]], None]


# The ports.


def test_a_port_that_leads_to_its_container(port: int, listen: Listen) -> None:
    listen("127.0.0.1", port, Answers)
    listen(OWN, port, Answers)
    assert not Published(port, OWN, port).is_dead()


def test_nobody_listens_on_the_port_of_a_container_that_serves(port: int, listen: Listen) -> None:
    listen(OWN, port, Answers)
    assert Published(port, OWN, port).is_dead()


def test_who_listens_has_no_way_to_a_container_that_serves(port: int, listen: Listen) -> None:
    listen("127.0.0.1", port, HangsUp)
    listen(OWN, port, Answers)
    assert Published(port, OWN, port).is_dead()


def test_a_port_that_is_only_held(port: int, listen: Listen) -> None:
    """As by the engine itself, when its rule in the firewall is gone."""
    listen(OWN, port, Answers)
    with socket.create_server(("127.0.0.1", port), backlog=0):
        assert Published(port, OWN, port).is_dead()


@pytest.mark.usefixtures("hardly_any")
@pytest.mark.parametrize("handler", [None, HangsUp, IsSilent])
def test_nothing_serves_the_port_in_the_container(
    port: int, listen: Listen, handler: type[BaseRequestHandler] | None
) -> None:
    """Some engines hold a port only where something serves it, and some only take the connection."""
    if handler:
        listen("127.0.0.1", port, handler)
    assert not Published(port, OWN, port).is_dead()


@pytest.mark.usefixtures("hardly_any")
def test_a_server_that_is_only_slow(port: int, listen: Listen) -> None:
    """Its container is not to be restarted for that."""
    listen("127.0.0.1", port, IsSilent)
    listen(OWN, port, IsSilent)
    assert not Published(port, OWN, port).is_dead()


def test_slow_at_first(port: int, listen: Listen) -> None:
    class Hesitates(BaseRequestHandler):
        asked = 0

        def handle(self) -> None:
            Hesitates.asked += 1
            self.request.recv(100)
            if Hesitates.asked > 1:
                self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    listen("127.0.0.1", port, Hesitates)
    listen(OWN, port, Answers)
    assert not Published(port, OWN, port).is_dead()
    assert Hesitates.asked == 2


def test_a_container_that_this_host_cannot_reach(port: int, listen: Listen) -> None:
    """Its engine holds each port it publishes; and of one that is held nothing can be said."""
    published = Published(port, UNREACHABLE, port)
    assert published.is_dead()
    listen("127.0.0.1", port, HangsUp)
    assert not published.is_dead()


def test_where_containers_run_in_a_machine_of_their_own(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert Published(port, OWN, port).is_dead()


# What is wrong, and what is done.


def inspected(name: str, state: str = "running", ports: Mapping[str, object] | None = None) -> dict[str, object]:
    """What `docker inspect` says."""
    networks = {"kind": {"IPAddress": OWN if state == "running" else ""}}
    return {
        "Name": f"/{name}",
        "State": {"Status": state, "StartedAt": "2026-01-01T10:00:00.123456789Z"},
        "NetworkSettings": {"Ports": ports or {}, "Networks": networks},
    }


def binding(port: int, address: str = "127.0.0.1") -> dict[str, str]:
    return {"HostIp": address, "HostPort": str(port)}


def test_what_docker_says_of_containers(stand_in: StandIn, calls: Calls) -> None:
    ports = {"80/tcp": [binding(8080), binding(8080, "192.0.2.1")], "6443/tcp": [binding(37001)], "9/tcp": None}
    said = [inspected("a", ports=ports), inspected("b", "exited")]
    stand_in("docker", f"echo '{json.dumps(said)}'")
    assert look(["a", "b"]) == [
        Container("a", "running", STARTED, (Published(8080, OWN, 80), Published(37001, OWN, 6443))),
        Container("b", "exited", STARTED),
    ]
    assert calls() == ["docker container inspect a b"]


def test_no_containers_need_no_engine(stand_in: StandIn) -> None:
    stand_in("docker", "exit 1")
    assert look([]) == []


@pytest.mark.parametrize(
    ("state", "says", "does"),
    [
        ("exited", "The container node is stopped.", "start node"),
        ("created", "The container node is stopped.", "start node"),
        ("paused", "The container node is paused.", "unpause node"),
    ],
)
def test_one_that_does_not_run(
    stand_in: StandIn, calls: Calls, progress: Progress, said: io.StringIO, state: str, says: str, does: str
) -> None:
    stand_in("docker", "")
    container = Container("node", state, STARTED)
    assert container.trouble() == says
    assert mend([container], progress, log="nodes") == [container]
    assert calls() == [f"docker {does}"]
    assert f"start node again ({says.rstrip('.')})" in said.getvalue()


def test_one_whose_port_is_dead(
    stand_in: StandIn, calls: Calls, progress: Progress, said: io.StringIO, port: int, listen: Listen
) -> None:
    stand_in("docker", "")
    listen(OWN, port, Answers)
    container = Container("node", "running", STARTED, (Published(port, OWN, port),))
    assert container.trouble() == f"Nothing forwards port {port} of 127.0.0.1 to the container node any more."
    mend([container], progress, log="nodes")
    assert calls() == ["docker restart node"]
    assert f"Nothing forwards port {port}" in said.getvalue()


def test_one_that_is_well_is_left_alone(calls: Calls, progress: Progress, said: io.StringIO) -> None:
    container = Container("node", "running", STARTED)
    assert container.trouble() == ""
    assert mend([container], progress, log="nodes") == []
    assert calls() == []
    assert said.getvalue() == ""


def test_one_that_cannot_be_started_says_why(stand_in: StandIn, progress: Progress) -> None:
    stand_in("docker", "echo no space left on device; exit 1")
    with pytest.raises(CommandFailed, match="no space left"):
        mend([Container("node", "exited", STARTED)], progress, log="nodes")
