"""What APP_DATABASE_URL and APP_VALKEY_URL may be. The sentences never repeat what was given: it holds a password."""

from urllib.parse import parse_qs, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# What a database URL may be written as, and the asyncio driver it means.
DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
VALKEY_SCHEMES = ("valkey", "valkeys", "redis", "rediss")


def parse_database_url(text: str) -> URL:
    """The URL with the asyncio driver it means.

    Raises:
        ValueError: with a sentence that says what it must be.
    """
    example = "postgresql://user:password@host/name or sqlite:///file"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError(f"must be a URL such as {example}") from None
    if url.drivername not in DRIVERS:
        raise ValueError(f"must begin with postgresql:// or sqlite://, as in {example}")
    url = url.set(drivername=DRIVERS[url.drivername])
    if url.get_backend_name() == "sqlite":
        if not url.database or ":memory:" in url.database:
            raise ValueError("must name a file, as in sqlite:///file: the schema is not migrated in memory")
        return url
    if not url.host or not url.database:
        raise ValueError(f"must name a host and a database, as in {example}")
    # libpq's sslmode is called ssl by asyncpg; certificates come by PGSSLROOTCERT and its like.
    query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    if strangers := sorted(set(query) - {"ssl"}):
        raise ValueError(f"has parameters that are not understood ({', '.join(strangers)}): only sslmode is")
    return url.set(query=query)


def parse_valkey_url(text: str) -> str:
    """The URL itself, as the package valkey understands it.

    Raises:
        ValueError: with a sentence that says what it must be.
    """
    example = "valkey://:password@host:6379/0"
    try:
        url = urlsplit(text)
        port_is_valid = url.port is None or url.port > 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid:
        raise ValueError(f"must be a URL such as {example}, with # / ? and @ of the password percent-encoded")
    if url.scheme not in VALKEY_SCHEMES:
        raise ValueError(f"must begin with valkey://, or valkeys:// for TLS, as in {example}")
    if not url.hostname:
        raise ValueError(f"must name a host, as in {example}")
    number = url.path.removeprefix("/")
    if number and not (number.isascii() and number.isdigit()):
        raise ValueError(f"must end in the number of a database or in none, as in {example}")
    if strangers := sorted(set(parse_qs(url.query, keep_blank_values=True)) - {"ssl_ca_certs"}):
        raise ValueError(f"has parameters that are not understood ({', '.join(strangers)}): only ssl_ca_certs is")
    return text
