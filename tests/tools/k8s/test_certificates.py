import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from k8s import certificates
from k8s.certificates import Pair, ensure_authority, ensure_server

HOSTS = ["links.localhost", "grafana.localhost"]  # by name: no client takes a wildcard below a single label


def load(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


@pytest.fixture
def authority(tmp_path: Path) -> Pair:
    return ensure_authority(tmp_path / "ca")


@pytest.fixture
def server(tmp_path: Path, authority: Pair) -> Pair:
    return ensure_server(tmp_path / "ca", "links", HOSTS, authority)


def handshake(server: Pair, authority: Pair, name: str) -> None:
    """A TLS connection by a client that trusts the authority alone."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(server.certificate, server.key)
    asking = ssl.create_default_context(cafile=authority.certificate)
    asking.verify_flags |= ssl.VERIFY_X509_STRICT  # as from Python 3.13 on
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            serving.wrap_socket(there, server_side=True).close()
        except OSError:  # the client refused
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        asking.wrap_socket(here, server_hostname=name).close()
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("name", ["links.localhost", "grafana.localhost"])
def test_a_client_that_trusts_the_authority_trusts_the_server(authority: Pair, server: Pair, name: str) -> None:
    handshake(server, authority, name)


def test_another_name_is_refused(authority: Pair, server: Pair) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)hostname mismatch"):
        handshake(server, authority, "example.com")


def test_another_authority_is_refused(server: Pair, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, ensure_authority(tmp_path / "another"), "links.localhost")


def test_the_chain_keeps_to_the_web_s_rules(authority: Pair, server: Pair) -> None:
    """cryptography's verifier wants what the CA/Browser Forum does, and says what is missing."""
    policy = PolicyBuilder().store(Store([load(authority.certificate)]))
    policy.build_server_verifier(x509.DNSName("links.localhost")).verify(load(server.certificate), [])
    late = policy.time(dt.datetime.now(dt.UTC) + dt.timedelta(days=certificates.SERVER_DAYS + 1))
    with pytest.raises(VerificationError):
        late.build_server_verifier(x509.DNSName("links.localhost")).verify(load(server.certificate), [])


def test_the_names_are_in_the_certificate(server: Pair) -> None:
    names = load(server.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == HOSTS


def test_a_server_s_certificate_signs_no_other(authority: Pair, server: Pair, tmp_path: Path) -> None:
    below = ensure_server(tmp_path / "below", "below", ["below.localhost"], server)
    (tmp_path / "chain").write_bytes(below.certificate.read_bytes() + server.certificate.read_bytes())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(Pair(tmp_path / "chain", below.key), authority, "below.localhost")


def test_a_key_is_its_owner_s_alone(authority: Pair, server: Pair) -> None:
    for pair in (authority, server):
        assert pair.key.stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_could_read_is_replaced_by_one_that_they_cannot(tmp_path: Path, authority: Pair) -> None:
    pair = Pair(tmp_path / "ca" / "links.crt", tmp_path / "ca" / "links.key")
    pair.key.write_text("left over")
    pair.key.chmod(0o644)
    ensure_server(tmp_path / "ca", "links", HOSTS, authority)
    assert pair.key.stat().st_mode & 0o777 == 0o600


def contents(pair: Pair) -> tuple[bytes, bytes]:
    return pair.certificate.read_bytes(), pair.key.read_bytes()


def test_what_is_good_is_left_alone(authority: Pair, server: Pair, tmp_path: Path) -> None:
    before = contents(authority), contents(server)
    again = ensure_authority(tmp_path / "ca")
    assert (contents(again), contents(ensure_server(tmp_path / "ca", "links", HOSTS, again))) == before


@pytest.mark.parametrize(
    ("days", "renewed"), [(certificates.RENEW_DAYS - 1, True), (certificates.RENEW_DAYS + 1, False)]
)
def test_a_server_s_is_renewed_when_its_end_is_near(
    tmp_path: Path, authority: Pair, monkeypatch: pytest.MonkeyPatch, days: int, renewed: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "SERVER_DAYS", days)
        before = contents(ensure_server(tmp_path / "ca", "links", HOSTS, authority))
    again = ensure_server(tmp_path / "ca", "links", HOSTS, authority)
    assert (contents(again) != before) is renewed
    handshake(again, authority, "links.localhost")


def test_all_are_renewed_when_the_authority_s_end_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "AUTHORITY_DAYS", certificates.RENEW_DAYS - 1)
        old = ensure_authority(tmp_path)
        before = contents(old), contents(ensure_server(tmp_path, "links", HOSTS, old))
    authority = ensure_authority(tmp_path)
    server = ensure_server(tmp_path, "links", HOSTS, authority)
    assert contents(authority) != before[0]
    assert contents(server) != before[1]
    handshake(server, authority, "links.localhost")


def test_another_authority_makes_another_certificate(tmp_path: Path, server: Pair) -> None:
    before = contents(server)
    another = ensure_authority(tmp_path / "another")
    again = ensure_server(tmp_path / "ca", "links", HOSTS, another)
    assert contents(again) != before
    handshake(again, another, "links.localhost")


def test_other_hosts_make_another_certificate(tmp_path: Path, authority: Pair, server: Pair) -> None:
    before = contents(server)
    again = ensure_server(tmp_path / "ca", "links", ["shop.localhost"], authority)
    assert contents(again) != before
    handshake(again, authority, "shop.localhost")


@pytest.mark.parametrize("broken", ["", "-----BEGIN CERTIFICATE-----\nMIIB"])
def test_a_file_that_was_half_written_is_replaced(tmp_path: Path, authority: Pair, server: Pair, broken: str) -> None:
    server.certificate.write_text(broken)
    handshake(ensure_server(tmp_path / "ca", "links", HOSTS, authority), authority, "links.localhost")


def test_a_certificate_without_its_key_is_replaced(tmp_path: Path, authority: Pair, server: Pair) -> None:
    server.key.unlink()
    handshake(ensure_server(tmp_path / "ca", "links", HOSTS, authority), authority, "links.localhost")


def test_a_certificate_with_another_s_key_is_replaced(tmp_path: Path, authority: Pair, server: Pair) -> None:
    """As an interruption between the two files leaves them."""
    server.key.write_bytes(authority.key.read_bytes())
    handshake(ensure_server(tmp_path / "ca", "links", HOSTS, authority), authority, "links.localhost")
