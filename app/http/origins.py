"""Lists of host names and of web origins (RFC 6454), as settings have them: separated by commas."""

import re
from urllib.parse import urlsplit

# A name, one with all below it, an address, or any.
HOST = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]|\*")


def parse_hosts(text: str) -> list[str]:
    """Host names in lower case, without ports.

    Raises:
        ValueError: the message says what one looks like.
    """
    hosts = _items(text)
    for host in hosts:
        if not HOST.fullmatch(host):
            raise ValueError(
                f"must name hosts such as links.example.com, *.example.com or [::1], without scheme or port: {host!r}"
            )
    return hosts


def parse_origins(text: str, *, any_allowed: bool) -> list[str]:
    """Origins as browsers send them in the Origin header; "*" only if `any_allowed`.

    Raises:
        ValueError: the message says what one looks like.
    """
    origins = _items(text)
    for origin in origins:
        if origin == "*":
            if not any_allowed:
                raise ValueError("must name the origins outside environment local: * would let in every page there is")
        elif not _is_origin(origin):
            raise ValueError(f"must name origins such as https://app.example.com, without a path: {origin!r}")
    return origins


def _items(text: str) -> list[str]:
    return [item for part in text.split(",") if (item := part.strip().lower())]


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        default = {"http": 80, "https": 443}.get(url.scheme)
        # Which browsers leave out, so that it would never match.
        return (
            default is not None
            and url.port != default
            and text == f"{url.scheme}://{url.netloc}"
            and bool(url.hostname and HOST.fullmatch(url.netloc.removesuffix(f":{url.port}")) and "*" not in text)
        )
    except ValueError:
        return False
