import socket
from typing import Any


def socket_of(connection: Any) -> socket.socket:
    """The socket of a connection. asyncpg has no public way to it."""
    found: socket.socket = connection._transport.get_extra_info("socket")
    return found
