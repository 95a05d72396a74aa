"""Parses lists in settings, separated by commas: host names, networks, headers and web origins (RFC 6454)."""

import ipaddress
import re
from urllib.parse import urlsplit

from keel.settings.masking import shown

# A name, a name with * for all below it, an address, or * for any.
HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]|\*")

MAX_NAME_CHARACTERS = 253  # RFC 1035, section 2.3.4

HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")


def parse_hosts(text: str) -> list[str]:
    """Host names in lower case, without ports.

    Raises:
        ValueError: the message has an example.
    """
    hosts = _items(text)
    for host in hosts:
        if not HOST.fullmatch(host) or not _is_one(host):
            raise ValueError(
                "must name hosts such as api.example.com, *.example.com or [::1], without scheme or port: "
                f"{shown(host)}"
            )
    return hosts


def _is_one(host: str) -> bool:
    """Whether a text of the right form is a host: one that ends in a number must be an IPv4 address.

    See https://url.spec.whatwg.org/#ends-in-a-number-checker.
    """
    try:
        if host.startswith("["):
            ipaddress.IPv6Address(host[1:-1])
        elif host.rpartition(".")[2].isdigit():
            ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return len(host) <= MAX_NAME_CHARACTERS


def parse_networks(text: str) -> list[str]:
    """IP addresses and networks; "*" alone for any.

    Raises:
        ValueError: the message has an example.
    """
    networks = _items(text)
    if networks == ["*"]:
        return networks
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            hint = f"did you mean {_network_of(network)}?" if "host bits" in str(error) else shown(network)
            raise ValueError(f"must name addresses or networks such as 10.0.0.1 or 10.0.0.0/8: {hint}") from None
    return networks


def _network_of(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def parse_origins(text: str, *, any_allowed: bool) -> list[str]:
    """Origins as browsers send them in the Origin header; "*" only if `any_allowed`.

    Raises:
        ValueError: the message has an example.
    """
    origins = _items(text)
    for origin in origins:
        if origin == "*":
            if not any_allowed:
                raise ValueError("must name the origins outside environment local: * would let in every page there is")
        elif not _is_origin(origin):
            raise ValueError(f"must name origins such as https://app.example.com, without a path: {shown(origin)}")
    return origins


def parse_headers(text: str) -> list[str]:
    """Names of request headers (RFC 9110, section 5.1), in lower case.

    Raises:
        ValueError: the message has an example.
    """
    headers = _items(text)
    for header in headers:
        if not HEADER.fullmatch(header):
            raise ValueError(f"must name headers such as sentry-trace: {shown(header)}")
    return headers


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip().lower())]


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        default = {"http": 80, "https": 443}.get(url.scheme)
        # Browsers leave the default port out: an origin with it would never match.
        return (
            default is not None
            and url.port != default
            and text == f"{url.scheme}://{url.netloc}"
            and bool(url.hostname and HOST.fullmatch(url.netloc.removesuffix(f":{url.port}")) and "*" not in text)
        )
    except ValueError:
        return False
