"""Which ports are taken, by real ones."""

import socket
import subprocess
import sys

import pytest

from toolkit.paths import ROOT
from toolkit.ports import is_taken
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
from toolkit.ports import is_taken
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
