"""A real server with TLS, at 127.0.0.1."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from delivery.deploy.environment import Environment
from delivery.deploy.environment import Smoke as Settings
from delivery.deploy.smoke import Answer, Smoke
from k8s.certificates import ensure_authority, ensure_server
from toolkit.process import Failure

HOST = "links.example.com"
PROBLEM = ("application/problem+json", 404)


@dataclass
class Site:
    """What it answers may be changed."""

    port: int = 0
    plain: int = 0
    asked: int = 0
    instance: Callable[[int], str] = lambda number: "new-1"  # noqa: ARG005
    status: Callable[[int], int] = lambda number: 200  # noqa: ARG005
    missing: tuple[str, int] = PROBLEM
    redirect: tuple[int, str] = (301, f"https://{HOST}/")
    hosts: set[str] = field(default_factory=set)


def handler(site: Site, *, tls: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.hosts.add(self.headers["Host"])
            if not tls:
                status, to = site.redirect
                self.send_response(status)
                if to:
                    self.send_header("Location", to)
                self.end_headers()
                return
            if self.path != "/":
                kind, status = site.missing
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                return
            site.asked += 1
            self.send_response(site.status(site.asked))
            self.end_headers()
            self.wfile.write(json.dumps({"version": "2", "instance": site.instance(site.asked)}).encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ca")


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    site = Site()
    pair = ensure_server(folder, "server", [HOST], ensure_authority(folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(site, tls=True)) as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler(site, tls=False)) as plain:
            site.port, site.plain = secure.server_address[1], plain.server_address[1]
            threads = [threading.Thread(target=each.serve_forever, args=(0.02,)) for each in (secure, plain)]
            for each in threads:
                each.start()
            yield site
            secure.shutdown()
            plain.shutdown()
            for each in threads:
                each.join()


def smoke(site: Site, folder: Path, seconds: float = 30.0, **settings: object) -> Smoke:
    chosen = {"connect": "127.0.0.1", "ca": folder / "ca.crt", "plain": f"http://{HOST}:{site.plain}", **settings}
    environment = Environment(
        name="test",
        namespace="links",
        release="links",
        values=[Path("values.yaml")],
        url=f"https://{HOST}:{site.port}",
        smoke=Settings(**chosen),  # type: ignore[arg-type]
    )
    return Smoke(environment, seconds)


def new() -> set[str]:
    return {"new-1", "new-2"}


def test_all_is_well(site: Site, folder: Path) -> None:
    assert smoke(site, folder).run(new) == Answer("2", "new-1")
    assert site.asked == 20
    assert site.hosts == {f"{HOST}:{site.port}", f"{HOST}:{site.plain}"}
    assert smoke(site, folder).version() == "2"


def test_it_waits_until_only_the_new_version_answers(site: Site, folder: Path) -> None:
    site.instance = lambda number: "old-1" if number == 10 else "new-2"
    smoke(site, folder).run(new)
    assert site.asked == 30


def test_a_version_before_that_goes_on_answering(site: Site, folder: Path) -> None:
    site.instance = lambda number: "old-1" if number % 5 == 0 else "new-1"
    with pytest.raises(
        Failure, match="did not answer well 20 times in a row: old-1, which is no pod of the new version, st"
    ):
        smoke(site, folder, 5).run(new)


def test_a_pod_that_has_come_meanwhile_is_asked_for(site: Site, folder: Path) -> None:
    site.instance = lambda number: "new-3" if number > 5 else "new-1"
    looks: list[int] = []

    def pods() -> set[str]:
        looks.append(1)
        return new() | ({"new-3"} if len(looks) > 1 else set())

    smoke(site, folder).run(pods)
    assert len(looks) == 2


def test_one_error_in_ten_is_no_row_of_twenty(site: Site, folder: Path) -> None:
    site.status = lambda number: 500 if number % 10 == 0 else 200
    with pytest.raises(Failure, match="20 times in a row: the last answer was 500 Internal Server Error"):
        smoke(site, folder, 5).run(new)


def test_the_requests_of_helm_test_are_asked_there_too(site: Site, folder: Path) -> None:
    wanted = {"name": "token", "path": "/api/v1/links", "status": 404, "contentType": "application/problem+json"}
    assert smoke(site, folder).run(new, [wanted, {"name": "route", "path": "/", "status": 200}]) == Answer("2", "new-1")
    assert site.asked == 21
    said = "/api/v1/links should be answered with 404, text/html .tests.requests, token., but the answer was 404, "
    with pytest.raises(Failure, match=said + "application/problem.json"):
        smoke(site, folder).run(new, [{**wanted, "contentType": "text/html"}])
    with pytest.raises(Failure, match=r"should be answered with 401 \(.*`smoke.requests: false` asks none"):
        smoke(site, folder).run(new, [{"name": "token", "path": "/api/v1/links", "status": 401}])


def test_another_authority_is_not_believed(site: Site, folder: Path, tmp_path: Path) -> None:
    other = ensure_authority(tmp_path).certificate
    with pytest.raises(Failure, match="certificate verify failed"):
        smoke(site, folder, 0.3, ca=other).run(new)
    with pytest.raises(Failure, match="certificate verify failed"):
        smoke(site, folder, 0.3, ca=None).run(new)
    assert site.asked == 0


def test_a_certificate_for_another_name_is_not_believed(site: Site, folder: Path) -> None:
    subject = smoke(site, folder, 0.3)
    url = subject.environment.url.replace(HOST, "other.example.com")
    with pytest.raises(Failure, match="certificate verify failed"):
        Smoke(subject.environment.model_copy(update={"url": url}), 0.3).run(new)


@pytest.mark.parametrize("missing", [("text/html", 404), ("application/problem+json", 200), ("", 404)])
def test_what_is_not_there_is_a_problem(site: Site, folder: Path, missing: tuple[str, int]) -> None:
    site.missing = missing
    with pytest.raises(
        Failure, match=r"/api/v1/no-such-thing should not be there and be answered by a problem \(RFC 9457"
    ):
        smoke(site, folder).run(new)
    smoke(site, folder, missing=None).run(new)


@pytest.mark.parametrize("redirect", [(200, ""), (301, "http://elsewhere.example.com/"), (404, "")])
def test_plain_http_is_redirected(site: Site, folder: Path, redirect: tuple[int, str]) -> None:
    site.redirect = redirect
    with pytest.raises(
        Failure, match=f"^http://{HOST}:{site.plain} should redirect to TLS, but the answer was {redirect[0]}"
    ):
        smoke(site, folder).run(new)


def test_an_image_that_does_not_say_who_answers(site: Site, folder: Path) -> None:
    site.instance = lambda number: ""  # noqa: ARG005
    assert smoke(site, folder).run(set) == Answer("2", "")


def test_nothing_answers(site: Site, folder: Path) -> None:
    subject = smoke(site, folder, 0.3)
    gone = Smoke(subject.environment.model_copy(update={"url": f"https://{HOST}:1"}), 0.3)
    assert gone.version() == ""
    with pytest.raises(Failure, match="did not answer well 20 times in a row: ConnectError"):
        gone.run(new)


def test_an_authority_that_is_not_there(site: Site, folder: Path) -> None:
    with pytest.raises(Failure, match=r"nowhere.crt cannot be read: "):
        smoke(site, folder, ca=Path("/nowhere.crt")).run(new)
