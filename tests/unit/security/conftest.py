"""Fixtures of the tests of tokens: an issuer that publishes keys."""

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.issuer import Issuer


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.open.set()
    server.shutdown()
    thread.join()
    socketserver.TCPServer.server_close(server)


@pytest.fixture
def certificate(issuer: Issuer, tmp_path: Path) -> Path:
    """Of the issuer, which then speaks TLS."""
    return issuer.speak_tls(tmp_path)
