"""Ports of 127.0.0.1: one that the environment names, one that is free, one that is taken."""

import os
import secrets
import socket

from toolkit.process import Failure

# Below those that systems give to clients: one of theirs would take it before its server starts (Linux from 32768,
# ip_local_port_range(7); others from 49152, RFC 6335, section 6).
FREE = range(20_000, 32_768)


def from_environment(name: str, usual: int) -> int:
    """The port that a variable names, or else the usual one. Raises Failure for what is no port."""
    text = os.environ.get(name, str(usual))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise Failure(f"{name} is '{text}': give a port number from 1 to 65535.")
    return int(text)


def free_port() -> int:
    """A port that nobody uses now, and that no other caller gets while this process lives.

    Its UDP port is kept as a sign of that: all processes see it, and the system takes it away with its owner.
    """
    while True:
        port = secrets.choice(FREE)
        with socket.socket(type=socket.SOCK_DGRAM) as sign:
            try:
                sign.bind(("127.0.0.1", port))
            except OSError:
                continue
            if not is_taken(port):
                sign.detach()  # stays open
                return port


def is_taken(port: int) -> bool:
    """Whether somebody listens on this port, or a rule of the firewall leads it elsewhere."""
    with socket.socket() as s:
        # As the engine's proxy does, or a connection that just closed would look like a server.
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", port)) == 0
