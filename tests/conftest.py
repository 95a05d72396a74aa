"""What tests of several parts need."""

import socket
from collections.abc import Iterator

import pytest

pytest_plugins = ["tests.support.fixtures", "tests.support.outages"]


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port bound but not listened on: connections to it are refused, and no one else gets it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
