import socket
from typing import Any


def socket_of(connection: Any) -> socket.socket:
    """That of a connection, which asyncpg shows nowhere else."""
    found: socket.socket = connection._transport.get_extra_info("socket")
    return found
