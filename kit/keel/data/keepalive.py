"""TCP keepalive (RFC 9293, 3.8.4): an idle connection whose other end vanished without a word is found out.

A node that dies, or a firewall that forgets a connection, sends nothing; without this the connection looks well until
it is used, and whoever uses it waits for a time-out.
"""

import socket

# Found dead after IDLE + INTERVAL * PROBES = 19 seconds.
_SECONDS = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}
OPTIONS = {getattr(socket, name): value for name, value in _SECONDS.items() if hasattr(socket, name)}


def enable(connected: socket.socket) -> None:
    """For a socket of TCP; one of Unix has no other end that could vanish so."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
