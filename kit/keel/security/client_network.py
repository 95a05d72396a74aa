"""The client behind an address, for limits by address."""

import ipaddress
from functools import lru_cache

from starlette.types import Scope

NETWORK_BITS = 64  # of an IPv6 address: the least that one customer has (RFC 6177)


def client_network(scope: Scope) -> str:
    """The address of the client, or its /64 network. The server has already resolved trusted proxies."""
    client = scope.get("client")
    return _network(client[0]) if client else ""


@lru_cache(maxsize=4096)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address.packed, NETWORK_BITS), strict=False))
