"""Which ports are taken, by real ones."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.paths import ROOT
from toolkit.ports import FREE, free_port, is_taken
from toolkit.process import succeeds


def test_a_port_whose_connections_just_closed_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        assert is_taken(port)
        accepted.close()  # the server's side first: it is the one that waits
        client.close()
    assert not is_taken(port)


OWN_NETWORK = ["unshare", "--net", "--user", "--map-root-user"]


@pytest.mark.skipif(not succeeds([*OWN_NETWORK, "iptables", "-t", "nat", "-L"]), reason="needs a network of its own")
def test_a_port_that_a_rule_of_the_firewall_leads_elsewhere_is_taken() -> None:
    """Where Kubernetes runs on the host itself, say. In a network of its own, so that nothing of the host's changes."""
    script = """
import socket, subprocess
from toolkit.ports import FREE, free_port, is_taken
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
with socket.create_server(("127.0.0.1", 0)) as server:
    to = str(server.getsockname()[1])
    rule = ["-p", "tcp", "-d", "127.0.0.1", "--dport", "8080", "-j", "REDIRECT", "--to-ports", to]
    print(is_taken(8080))
    subprocess.run(["iptables", "-t", "nat", "-A", "OUTPUT", *rule], check=True)
    print(is_taken(8080))
"""
    argv = [*OWN_NETWORK, sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_no_two_callers_get_the_same_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of one service were the same once, each free when it was asked for."""
    first = free_port()
    with socket.create_server(("127.0.0.1", first)):  # its own user is not in the way
        pass
    elsewhere = [sys.executable, "-c", "from toolkit.ports import free_port; print(free_port()); input()"]
    with subprocess.Popen(elsewhere, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin
        assert other.stdout
        second = int(other.stdout.readline())
        offered = iter([first, second, first, second, *FREE])
        monkeypatch.setattr("secrets.choice", lambda _: next(offered))
        assert free_port() not in {first, second}
        other.stdin.close()


def test_a_port_with_a_server_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        offered = iter([server.getsockname()[1], *FREE])
        monkeypatch.setattr("secrets.choice", lambda _: next(offered))
        assert free_port() in FREE


def test_no_client_of_this_system_gets_a_free_port() -> None:
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    assert int(lowest) >= FREE.stop
