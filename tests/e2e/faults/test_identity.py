"""Tokens' keys, the certificate and the database's user change, and nobody notices."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from kubernetes import client

from k8s import up
from k8s.certificates import ensure_server
from k8s.service import HOST, NAMESPACE
from tests.e2e import causes, database
from tests.e2e.cluster import wait_for
from tests.e2e.faults import harm, servers
from tests.e2e.faults.conftest import Create, Fault
from tests.e2e.faults.servers import LOG, Issuer
from tests.e2e.machine import slowness
from tests.e2e.web import trust_of
from toolkit.process import output, run

pytestmark = pytest.mark.timeout(600)
CREATED, UNKNOWN = 201, 401
IN_USE_SECONDS = 60
AWAY_SECONDS = 10
LATE_SECONDS = 2
WAIT_SECONDS = 3  # for the issuer's keys, at most: APP_JWKS_TIMEOUT_SECONDS
ISSUERS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": servers.DATA}}}]
# Keys by an issuer's address, which is asked more often than by default: each pod asks it in each of the phases.
BY_ADDRESS = [
    "--set=config.APP_JWKS_FILE=null",
    f"--set-string=config.APP_JWKS_URL={Issuer.URL}",
    "--set-string=config.APP_JWKS_REFRESH_SECONDS=5",
    "--set-string=config.APP_JWKS_COOLDOWN_SECONDS=2",
    "--set=networkPolicy.egress.issuer.ports={8080}",
    f"--set-json=networkPolicy.egress.issuer.to={json.dumps(ISSUERS)}",
]


@dataclass(frozen=True)
class NewKey:
    """A token of a key that nobody knows yet, and key sets (RFC 7517): with it alone, and with the first one, too."""

    token: str
    alone: str
    both: str


def key_set(key: Path) -> str:
    return output([sys.executable, "-m", "app", "token", "--jwks", "--key", str(key)])


@pytest.fixture
def new_key(stack: up.Stack, tmp_path: Path) -> NewKey:
    key, known = tmp_path / "key.json", stack.service.dev_key
    token = output(["sh", "-c", stack.service.facts()["token"].replace(str(known), str(key))])
    alone = key_set(key)
    both = {"keys": json.loads(key_set(known))["keys"] + json.loads(alone)["keys"]}
    return NewKey(token.strip(), alone, json.dumps(both))


def test_the_key_set_is_away(stack: up.Stack, create: Create, token: str, new_key: NewKey, fault: Fault) -> None:
    """Known keys go on, and those of nobody knows whom are refused at once."""
    with fault("the issuer's keys away", stays=True) as watch, causes.key_set(stack, None):
        assert {create(token).status_code for _ in range(20)} == {CREATED}
        started = time.monotonic()
        assert {create(new_key.token).status_code for _ in range(20)} == {UNKNOWN}
        assert (time.monotonic() - started) / 20 < 0.5
        watch.load.go_on(AWAY_SECONDS)


@pytest.mark.nightly
def test_the_keys_are_rotated(stack: up.Stack, create: Create, token: str, new_key: NewKey, fault: Fault) -> None:
    """First both are there, as RFC 7517 has it in mind; then the new one alone."""

    def both_taken() -> bool:
        return {create(each).status_code for each in (new_key.token, token) for _ in range(9)} == {CREATED}

    with fault("the issuer's keys rotated", stays=True), causes.key_set(stack, new_key.both):
        wait_for("both keys in every pod", both_taken, seconds=IN_USE_SECONDS)
    with causes.key_set(stack, new_key.alone):
        wait_for("the new key alone", lambda: {create(token).status_code for _ in range(9)} == {UNKNOWN})
        assert {create(new_key.token).status_code for _ in range(9)} == {CREATED}
    wait_for("the old key in every pod", lambda: {create(token).status_code for _ in range(9)} == {CREATED})


@pytest.fixture
def issuer(stack: up.Stack) -> Iterator[Issuer]:
    """One whose address the service has instead of a file."""
    with servers.issuer(stack, key_set(stack.service.dev_key)) as found:
        run(stack.service.upgrade_command(stack.image, *BY_ADDRESS), log=LOG)
        yield found
        run(stack.service.upgrade_command(stack.image), log=LOG)


@pytest.mark.nightly
def test_the_issuer_is_late_then_silent_then_gone(
    issuer: Issuer, create: Create, token: str, new_key: NewKey, fault: Fault
) -> None:
    """Known keys go on. A token of another key waits for the issuer, and not for long."""

    def assert_known_ones_go_on() -> None:
        began, slowest = time.monotonic(), 0.0
        while (before := time.monotonic()) - began < AWAY_SECONDS:
            assert create(new_key.token).status_code == UNKNOWN
            slowest = max(slowest, time.monotonic() - before)
            assert create(token).status_code == CREATED
        assert slowest < (WAIT_SECONDS + 1) * slowness()

    with fault("the issuer late, then silent, then gone", stays=True) as watch:
        issuer.late(LATE_SECONDS)
        assert_known_ones_go_on()
        with issuer.silent():
            assert_known_ones_go_on()
        with issuer.gone():
            assert_known_ones_go_on()
        watch.over()
        issuer.late(0)
        issuer.publish(new_key.both)
        wait_for("the new key", lambda: {create(new_key.token).status_code for _ in range(9)} == {CREATED}, seconds=30)


@pytest.mark.nightly
def test_the_certificate_is_rotated(stack: up.Stack, tmp_path: Path, fault: Fault) -> None:
    authority = stack.service.authority
    pair = ensure_server(tmp_path, HOST, [HOST], authority)
    files = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authority.certificate}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "links-tls", "namespace": NAMESPACE},
        "stringData": {name: file.read_text() for name, file in files.items()},
    }
    new = pair.load()
    assert new
    try:
        with fault("the certificate rotated", stays=True):
            stack.cluster.apply(json.dumps(secret), LOG)
            wait_for("the new certificate", lambda: served(stack) == new, seconds=IN_USE_SECONDS)
    finally:
        stack.service.prepare()
    wait_for("the first certificate", lambda: served(stack) != new, seconds=IN_USE_SECONDS)


def served(stack: up.Stack) -> x509.Certificate:
    """The certificate that the ingress shows, which the demo authority has issued."""
    trust = trust_of(stack.service.authority.certificate)
    with (
        socket.create_connection(("127.0.0.1", stack.cluster.ports["https"]), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True))


def test_the_database_s_user_is_rotated(stack: up.Stack, core: client.CoreV1Api, fault: Fault) -> None:
    """Another user in the mounted Secret reaches running pods; once none of the former is connected, it may go."""
    if not database.sql(stack, "SELECT 1 FROM pg_roles WHERE rolname = 'rotated'"):
        database.sql(stack, "CREATE ROLE rotated LOGIN PASSWORD 'rotated' IN ROLE links")
    url = "postgresql://rotated:rotated@postgresql.data.svc:5432/links"

    def all_rotated() -> bool:
        users = database.sql(stack, f"SELECT DISTINCT usename FROM {harm.SESSIONS}")  # noqa: S608
        return users.split() == ["rotated"]

    try:
        with fault("the database's user rotated", stays=True):
            core.patch_namespaced_secret("links-secrets", NAMESPACE, {"stringData": {"app_database_url": url}})
            wait_for("connections of the new user alone", all_rotated, seconds=IN_USE_SECONDS * slowness())
    finally:
        stack.service.prepare()  # the user that the other tests know
