"""Parses APP_DATABASE_URL and APP_VALKEY_URL. No message shows the URL, because it contains a password."""

import os
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# The schemes of database URLs, and the asyncio driver of each.
DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
# https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
TLS_MODES = SSL_MODES[SSL_MODES.index("require") :]  # the others connect without TLS if the server has none
# Parameters of other drivers, and what to do instead.
INSTEAD = {
    "application_name": "it is the name of the service",
    "channel_binding": "leave it out, the driver has none",
    "connect_timeout": "set APP_DATABASE_CONNECT_TIMEOUT_SECONDS",
    "options": "set it for the user, as with ALTER ROLE ... SET",
    "sslcert": "set PGSSLCERT",
    "sslkey": "set PGSSLKEY",
    "sslrootcert": "set PGSSLROOTCERT",
    "target_session_attrs": "name a host that leads to the primary",
}
VALKEY_SCHEMES = ("valkey", "valkeys", "redis", "rediss")


def parse_database_url(text: str) -> URL:
    """The URL with its asyncio driver.

    Raises:
        ValueError: the message says what the URL must be.
    """
    example = "postgresql://user:password@host/name or sqlite:///file"
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise ValueError(f"must be a URL such as {example}") from None
    if url.drivername not in DRIVERS:
        raise ValueError(f"must begin with postgresql:// or sqlite://, as in {example}")
    url = url.set(drivername=DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite":
        if not url.database or ":memory:" in url.database:
            raise ValueError("must name a file, as in sqlite:///file: the schema is not migrated in memory")
        return url
    socket = url.query.get("host")  # a directory with a Unix socket, as Cloud SQL has
    if not (url.host or socket) or not url.database:
        raise ValueError(f"must name a host and a database, as in {example}")
    _check_host(url.host or "")
    if "," in (url.host or ""):
        raise ValueError(f"must name one host, that of the primary, as in {example}")
    if socket is not None and (url.host or not str(socket).startswith("/")):
        raise ValueError("must name a host, or with ?host= the directory of a Unix socket, and not both")
    # asyncpg calls libpq's sslmode ssl. It takes certificates from variables such as PGSSLROOTCERT.
    query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    if strangers := sorted(set(query) - {"ssl", "host"}):
        hints = [f"{name}: {INSTEAD[name]}" if name in INSTEAD else name for name in strangers]
        raise ValueError(f"has unknown parameters ({'; '.join(hints)}): only sslmode and host are supported")
    if query.get("ssl", "prefer") not in SSL_MODES:
        raise ValueError(f"has an unknown sslmode: it must be one of {', '.join(SSL_MODES)}")
    return url.set(query=query)


def demands_tls(url: URL) -> bool:
    """Whether every connection uses TLS, or needs none, as a file or a Unix socket. The driver also reads PGSSLMODE."""
    mode = url.query.get("ssl") or os.environ.get("PGSSLMODE")
    return not url.host or mode in TLS_MODES


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
