"""The suite itself: it notices what gets through, and says what it has not tried."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from tests.attack import __main__ as command
from tests.attack import groups, paths, tokens
from tests.attack.attempts import Group, Tally, run, table
from tests.attack.own import AUDIENCE, ISSUER, NAME, Own
from tests.attack.target import Target, UnfitTargetError, read_key
from tests.attack.wire import Address
from toolkit.ports import free_port


class Lax(http.server.BaseHTTPRequestHandler):
    """Does whatever it is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lax() -> Iterator[Target]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Lax) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield target(server.server_port)
        server.shutdown()
        serving.join()


def target(port: int) -> Target:
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    return Target(Address(port, NAME), key, ISSUER, AUDIENCE)


@pytest.mark.parametrize(
    ("group", "held"),
    [
        (tokens.attack, 2),  # nobody looks where tokens say, and the service still answers
        (paths.attack, 1),  # it still answers
    ],
)
def test_a_service_that_lets_everything_through_is_noticed(lax: Target, group: Group, held: int) -> None:
    (tally,) = run([("group", group)], lax)
    assert tally.held == held
    assert len(tally.through) > 50
    assert f"Got through: group: {tally.through[0]}" in table([tally])


def test_what_is_not_this_service_withstands_nothing(lax: Target) -> None:
    with pytest.raises(UnfitTargetError, match="There is no such service"):
        lax.check()


def test_a_service_of_other_keys_withstands_nothing(service: Own) -> None:
    with pytest.raises(UnfitTargetError, match="does not take our tokens"):
        target(service.address.port).check()


def test_a_group_that_breaks_off_has_not_held(service: Own) -> None:
    def broken(_: Target, tally: Tally) -> None:
        tally.judge("the first", True)
        raise KeyError("items")

    (tally,) = run([("group", broken)], service)
    assert (tally.tried, tally.held) == (3, 2)
    assert tally.through == ["all that was to follow: broken off by KeyError('items')"]


def test_a_service_that_is_gone_has_not_held() -> None:
    (tally,) = run([("group", lambda *_: None)], target(free_port()))
    assert len(tally.through) == tally.tried == 1


@pytest.mark.parametrize("url", ["https://links.example.com/", "http://10.0.0.1:80", "ftp://localhost", "http://[", ""])
def test_attempts_are_made_at_this_machine_alone(url: str, tmp_path: Path) -> None:
    with pytest.raises(UnfitTargetError, match="is not this machine"):
        command.address(url, tmp_path)


def test_over_tls_the_certificate_is_verified(tmp_path: Path) -> None:
    authority = Path(ssl.get_default_verify_paths().openssl_cafile)
    found = command.address("https://links.localhost:8443", authority)
    assert (found.port, found.name) == (8443, "links.localhost")
    assert found.trust
    assert found.trust.verify_mode == ssl.CERT_REQUIRED
    with pytest.raises(UnfitTargetError, match="cannot be read"):
        command.address("https://links.localhost:8443", tmp_path / "none.crt")


def test_a_cluster_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(UnfitTargetError, match="is not there: `make up` makes"):
        read_key(tmp_path / "none.json")


def test_the_command_says_what_it_leaves_out(
    service: Own, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ANYWHERE", groups.ANYWHERE[3:4])
    given = {"URL": f"http://localhost:{service.address.port}", "KEY": str(service.directory / "issuer.json")}
    for name, value in {**given, "ISSUER": ISSUER, "AUDIENCE": AUDIENCE}.items():
        monkeypatch.setenv(name, value)
    assert command.main() == 0
    shown = capsys.readouterr().out
    assert "paths" in shown
    assert [line.split(",")[0] for line in shown.splitlines() if line.startswith("Left out: ")] == [
        *("Left out: logs", "Left out: settings", "Left out: floods of an address"),
    ]


def test_the_command_has_nothing_to_try(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("URL", "http://localhost:1")
    monkeypatch.setenv("KEY", str(tmp_path / "none.json"))
    assert command.main() == command.UNFIT
    assert "KEY=" in capsys.readouterr().err
