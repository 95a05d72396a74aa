"""What a judge of TLS says of the way in. What it finds has a reason in tests/judges/explained.yaml, or is mended."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from k8s import up
from k8s.certificates import ensure_authority, ensure_server
from k8s.service import HOST
from tests.judges import explanations, testssl

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def program() -> str:
    found = testssl.obtain()
    if found is None:
        pytest.fail("This test needs testssl.sh on the PATH: install it, as with apt-get install testssl.sh.")
    return found


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[int]:
    """The port of a server with a certificate of nobody's authority, for another name."""
    pair = ensure_server(tmp_path, "server", ["elsewhere.example"], ensure_authority(tmp_path))
    argv = [
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-cert",
        str(pair.certificate),
        "-key",
        str(pair.key),
        "-www",
    ]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield next(int(line.rpartition(":")[2]) for line in server.stdout if line.startswith("ACCEPT 127.0.0.1:"))
        server.kill()


def test_the_ingress_speaks_tls_well(program: str, stack: up.Stack, report: Callable[..., None]) -> None:
    known = [each for each in explanations.load() if each.judge == "testssl"]
    address = HOST, stack.cluster.ports["https"]
    verdict = testssl.judge(program, "ingress", address, stack.service.authority.certificate, testssl.CHECKS)
    left = explanations.unexplained(verdict.findings, known)
    assert not left, "\n" + "\n".join(map(str, left))
    assert not explanations.stale(known, verdict.findings)
    assert verdict.passed > 30
    report("testssl.sh at the ingress", note=f"{verdict.passed} checks passed, {len(verdict.findings)} are explained")


def test_a_certificate_that_nobody_trusts_is_found(program: str, stranger: int, tmp_path: Path) -> None:
    other = ensure_authority(tmp_path / "other").certificate
    verdict = testssl.judge(program, "bad", (HOST, stranger), other, ("-S",))
    assert {"cert_trust", "cert_chain_of_trust"} <= {each.check for each in verdict.findings}
