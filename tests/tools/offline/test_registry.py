import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from offline import registry
from offline.registry import Registry
from toolkit.containers import Published
from toolkit.process import Failure
from toolkit.progress import Progress

Docker = Callable[[str, str], None]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Something that answers as a registry with the one image team/app does."""

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            pages = {
                "/v2/": "{}",
                "/v2/team/app/manifests/1": '{"config": {"digest": "sha256:c"}}',
                "/v2/team/app/blobs/sha256:c": '{"config": {"User": "1"}}',
            }
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Docker-Content-Digest", "sha256:m")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(pages.get(self.path, "").encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def engine(state: str, port: int = 0, networks: str = "bridge", network: bool = True) -> str:
    """A stand-in for docker: the registry's container in a state, and kind's network."""
    ports = {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]} if state == "running" else {}
    network_settings = {"Ports": ports, "Networks": {"bridge": {"IPAddress": "127.0.0.1"}}}
    container = {
        "Name": "/shipshape-registry",
        "State": {"Status": state, "StartedAt": "2026-01-01T10:00:00Z"},
        "NetworkSettings": network_settings,
    }
    return f"""case "$*" in
      "container inspect shipshape-registry") {f"echo '{json.dumps([container])}'" if state else "exit 1"} ;;
      *.NetworkSettings.Networks*) echo '{{"{networks}": {{}}}}' ;;
      "network inspect kind") {"true" if network else "exit 1"} ;;
      "network inspect bridge"*) echo 1400 ;;
    esac"""


def changes(calls: list[str]) -> list[str]:
    """What was asked for beside looking."""
    return [c.removeprefix("docker ") for c in calls if "inspect" not in c]


def test_it_is_started_on_a_port_of_loopback_and_put_on_kind_s_network(
    stand_in: Docker, calls: Callable[[], list[str]], server: ThreadingHTTPServer, progress: Progress
) -> None:
    stand_in("docker", engine(""))
    Registry(server.server_port).ensure("the-image", progress)
    run, connect = changes(calls())
    assert run.startswith("run --detach --name shipshape-registry")
    assert f"--publish 127.0.0.1:{server.server_port}:5000 " in run
    assert run.endswith(":/var/lib/registry the-image")
    assert connect == "network connect kind shipshape-registry"


def test_one_that_runs_is_taken_with_its_port(
    stand_in: Docker, calls: Callable[[], list[str]], server: ThreadingHTTPServer, progress: Progress
) -> None:
    stand_in("docker", engine("running", server.server_port, networks="kind"))
    found = Registry(1)
    found.ensure("the-image", progress)
    assert found.host == f"127.0.0.1:{server.server_port}"
    assert changes(calls()) == []


@pytest.mark.parametrize(("state", "says"), [("exited", "stopped"), ("paused", "paused")])
def test_one_that_does_not_run_is_replaced(
    stand_in: Docker,
    calls: Callable[[], list[str]],
    server: ThreadingHTTPServer,
    progress: Progress,
    said: io.StringIO,
    state: str,
    says: str,
) -> None:
    stand_in("docker", engine(state))
    Registry(server.server_port).ensure("the-image", progress)
    assert changes(calls())[0] == "rm --force shipshape-registry"
    assert changes(calls())[1].startswith("run ")
    assert f"start the local registry again (The container shipshape-registry is {says})" in said.getvalue()


def test_one_to_which_its_port_does_not_lead_is_restarted(
    stand_in: Docker, calls: Callable[[], list[str]], server: ThreadingHTTPServer, progress: Progress
) -> None:
    """Here the port leads there, and what decides does not say so."""
    stand_in("docker", engine("running", server.server_port, networks="kind"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Published, "is_dead", lambda _: True)
        Registry(server.server_port).ensure("the-image", progress)
    assert changes(calls()) == ["restart shipshape-registry"]


def test_the_network_is_made_with_the_engine_s_largest_packet(
    stand_in: Docker, calls: Callable[[], list[str]], server: ThreadingHTTPServer, progress: Progress
) -> None:
    stand_in("docker", engine("", network=False))
    Registry(server.server_port).ensure("the-image", progress)
    create = next(c for c in changes(calls()) if c.startswith("network create"))
    assert "com.docker.network.driver.mtu=1400" in create
    assert create.endswith(" kind")


def test_one_that_never_answers_is_a_sentence(
    stand_in: Docker, unused_port: int, monkeypatch: pytest.MonkeyPatch, progress: Progress
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(registry, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=time.sleep))
    stand_in("docker", engine(""))
    with pytest.raises(Failure, match=r"does not answer.*docker logs shipshape-registry"):
        Registry(unused_port).ensure("the-image", progress)


def test_what_it_has(server: ThreadingHTTPServer) -> None:
    found = Registry(server.server_port)
    assert found.digest("team/app", "1") == "sha256:m"
    assert found.digest("team/app", "2") is None
    assert found.config("team/app", "1") == {"config": {"User": "1"}}


def test_it_is_removed_with_a_network_of_ours_that_nobody_is_on(
    stand_in: Docker, calls: Callable[[], list[str]]
) -> None:
    networks = """case "$*" in
      "network ls"*) echo free; echo used ;;
      *"inspect free"*) echo 0 ;;
      *) echo 1 ;;
    esac"""
    stand_in("docker", networks)
    registry.remove()
    assert [c for c in changes(calls()) if " ls " not in c] == ["rm --force shipshape-registry", "network rm free"]
