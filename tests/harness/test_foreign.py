"""The service that end-to-end tests run with the chart to show that an image need not be ours."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from k8s.kind.cluster import free_ports

PROGRAM = Path(__file__).parents[1] / "e2e" / "foreign" / "other.py"


class Foreign:
    def __init__(self, process: "subprocess.Popen[bytes]", public: str, private: str) -> None:
        self.process, self.public, self.private = process, public, private

    def status(self, path: str) -> int:
        try:
            return httpx.get(self.private + path, timeout=5).status_code
        except httpx.TransportError:
            return 0


@pytest.fixture
def foreign() -> Iterator[Foreign]:
    http, management = list(free_ports().values())[:2]
    arguments = [f"--http={http}", f"--management={management}"]
    with subprocess.Popen([sys.executable, PROGRAM, *arguments], stderr=subprocess.DEVNULL) as process:
        found = Foreign(process, f"http://127.0.0.1:{http}", f"http://127.0.0.1:{management}")
        try:
            wait_for(found, "/health/ready", 200)
            yield found
        finally:
            process.kill()


def wait_for(foreign: Foreign, path: str, status: int) -> None:
    deadline = time.monotonic() + 20
    while foreign.status(path) != status:
        assert time.monotonic() < deadline, f"{path} is not {status}"
        time.sleep(0.05)


def test_users_and_probes_have_a_port_each(foreign: Foreign) -> None:
    assert httpx.get(foreign.public).text == "hello\n"
    for path in ("/health/startup", "/health/live", "/health/ready"):
        assert foreign.status(path) == 200
        assert httpx.get(foreign.public + path).status_code == 404
    assert "hellos_total 1\n" in httpx.get(foreign.private + "/stats").text


def test_requests_in_flight_are_finished(foreign: Foreign) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(httpx.get, foreign.public, params={"seconds": 1.5}, timeout=10)
        deadline = time.monotonic() + 10
        while "hellos_total 1\n" not in httpx.get(foreign.private + "/stats").text:
            assert time.monotonic() < deadline
        foreign.process.send_signal(signal.SIGTERM)
        wait_for(foreign, "/health/ready", 503)
        assert slow.result().text == "hello\n"
    assert foreign.process.wait(10) == 0
