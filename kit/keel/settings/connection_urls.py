"""Parses APP_DATABASE_URL and APP_VALKEY_URL. No message shows the URL, because it contains a password."""

from urllib.parse import parse_qs, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from keel import dialects

VALKEY_SCHEMES = ("valkey", "valkeys", "redis", "rediss")


def parse_database_url(text: str) -> URL:
    """The URL with its asyncio driver.

    Raises:
        ValueError: the message says what the URL must be.
    """
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError(f"must be a URL such as {dialects.example()}") from None
    _check_host(url.host or "")
    return dialects.parse(url)


def _check_host(host: str) -> None:
    """Raise ValueError if the host contains the end of a password, which messages and logs would show."""
    if "@" in host:
        raise ValueError("has an @ in its user or password: percent-encode it, as %40")


def parse_valkey_url(text: str) -> str:
    """The URL, checked so that the package valkey accepts it.

    Raises:
        ValueError: the message says what the URL must be.
    """
    example = "valkey://:password@host:6379/0"
    text = text.strip()
    scheme, _, rest = text.partition("://")
    if "sentinel" in scheme or "," in rest.partition("/")[0].rpartition("@")[2]:
        raise ValueError(f"must name one server, the primary, as in {example}: Sentinels and lists are not supported")
    try:
        url = urlsplit(text)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid:
        raise ValueError(f"must be a URL such as {example}, with # / ? and @ of the password percent-encoded")
    _check_host(url.netloc.partition("@")[2])
    if url.scheme not in VALKEY_SCHEMES:
        raise ValueError(f"must begin with valkey://, or valkeys:// for TLS, as in {example}")
    if not url.hostname:
        raise ValueError(f"must name a host, as in {example}")
    number = url.path.removeprefix("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError(f"must end in the number of a database or in none, as in {example}")
    if strangers := sorted(set(parse_qs(url.query, keep_blank_values=True)) - {"ssl_ca_certs"}):
        raise ValueError(f"has unknown parameters ({', '.join(strangers)}): only ssl_ca_certs is supported")
    return text
