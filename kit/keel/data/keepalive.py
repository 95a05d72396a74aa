"""TCP keepalive (RFC 9293, 3.8.4): notices that the other end of an idle connection has vanished.

A node that dies, or a firewall that forgets a connection, sends nothing. Without keepalive the connection looks good
until a request uses it and waits for a time-out.
"""

import socket

# A connection is found dead after IDLE + INTERVAL * PROBES = 19 seconds.
_SECONDS = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3}
OPTIONS = {getattr(socket, name): value for name, value in _SECONDS.items() if hasattr(socket, name)}


def enable(connected: socket.socket) -> None:
    """Switch keepalive on for a TCP socket. A Unix socket needs none, as both ends are on one machine."""
    if connected.family == socket.AF_UNIX:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in OPTIONS.items():
        connected.setsockopt(socket.IPPROTO_TCP, option, value)
