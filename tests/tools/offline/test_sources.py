import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from k8s import up
from k8s.certificates import ensure_authority, ensure_server
from k8s.kind import host
from offline import images, sources
from offline import registry as registries
from offline.sources import Source, decide
from toolkit import versions
from toolkit.process import Failure
from toolkit.progress import Progress

REGISTRIES = ["docker.io", "quay.io", "registry.k8s.io"]


def test_pulls_when_every_registry_answers() -> None:
    asked: list[str] = []

    def probe(registry: str) -> bool:
        asked.append(registry)
        return True

    assert decide(REGISTRIES, probe) is Source.PULL
    assert sorted(asked) == REGISTRIES


@pytest.mark.parametrize("silent", REGISTRIES)
def test_builds_when_one_registry_does_not_answer(silent: str) -> None:
    assert decide(REGISTRIES, lambda registry: registry != silent) is Source.BUILD


@pytest.mark.parametrize("wish", list(Source))
def test_the_environment_overrules_without_a_probe(wish: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", wish.value)

    def probe(registry: str) -> bool:
        raise AssertionError(f"{registry} was asked")

    assert decide(REGISTRIES, probe) is wish


def test_nonsense_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "download")
    with pytest.raises(Failure, match=r"SHIPSHAPE_IMAGES is 'download'.*'pull' or 'build'"):
        decide(REGISTRIES, lambda _: True)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], str]]:
    """Starts a server that speaks TLS and answers /v2/ with a status; returns its name as a registry."""
    authority = ensure_authority(tmp_path)
    pair = ensure_server(tmp_path, "registry", ["localhost"], authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("NO_PROXY", "localhost")
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/v2/" else 404)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("localhost", 0), Answer)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return f"localhost:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("status", "expected"), [(200, True), (401, True), (302, False), (403, False), (503, False)])
def test_a_registry_answers_with_ok_or_asks_who_we_are(
    registry: Callable[[int], str], status: int, expected: bool
) -> None:
    assert sources.answers(registry(status)) is expected


def test_nobody_there_is_no_answer(unused_port: int) -> None:
    assert sources.answers(f"localhost:{unused_port}") is False


def test_a_certificate_that_nobody_trusts_is_no_answer(
    registry: Callable[[int], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ensure_authority(tmp_path / "another").certificate))
    assert sources.answers(registry(200)) is False


ENGINE = """case "$*" in
  "container inspect shipshape-registry") exit 1 ;;
  *NetworkSettings.Networks*) echo '{"kind": {}}' ;;
  "version"*) echo 29.0.0 ;;
esac"""


@pytest.fixture
def registry_port() -> Iterator[int]:
    """The port of something that answers as a running registry does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.usefixtures("only_stand_ins")
def test_where_images_are_pulled_nothing_is_built(
    stand_in: Callable[[str, str], None],
    calls: Callable[[], list[str]],
    registry_port: int,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "pull")
    for name in ("DISK_TO_PULL", "MEMORY"):  # this host is big enough, whatever it is
        monkeypatch.setattr(host, name, 0)
    monkeypatch.setattr(host, "INOTIFY", {})
    stand_in("docker", ENGINE)
    stand_in("go", 'case "$*" in "env GOSUMDB") echo sum.golang.org ;; "env "*) echo go1.99.0 ;; *) exit 1 ;; esac')
    for tool in versions.load().tools.values():
        stand_in(tool.name, f"echo {tool.version}")

    wanted, source = up.survey(progress)
    up.provide(wanted, source, registry_port, progress)

    assert source is Source.PULL
    started = [c for c in calls() if c.startswith("docker run ")]
    assert len(started) == 1
    assert started[0].endswith("docker.io/library/registry:2.8.3")
    assert {c.split()[1] for c in calls() if c.startswith("go ")} == {"env"}
    assert not [c for c in calls() if c.startswith(("docker build", "docker import", "docker-buildx"))]


@pytest.mark.usefixtures("only_stand_ins")
def test_where_images_are_built_all_that_is_missing_is(
    stand_in: Callable[[str, str], None],
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other branch of the same decision: the building itself is test_images' subject."""
    monkeypatch.setenv("SHIPSHAPE_IMAGES", "build")
    monkeypatch.setattr(host, "examine", lambda *_: [])
    monkeypatch.setattr(host, "INOTIFY", {})
    monkeypatch.setattr(host, "provide_tools", lambda *_: None)
    stand_in("docker", "")
    stand_in("kind", f"echo {versions.load().tools['kind'].version}")
    done: list[object] = []
    monkeypatch.setattr(images.Images, "ensure_registry_image", lambda _: "built-registry")
    monkeypatch.setattr(registries.Registry, "ensure", lambda _, image, __: done.append(image))
    monkeypatch.setattr(images.Images, "ensure_all", lambda _, tools: done.append(tools))
    wanted, source = up.survey(progress)
    up.provide(wanted, source, 5001, progress)
    assert source is Source.BUILD
    assert done == ["built-registry", ["kubectl", "helm"]]
