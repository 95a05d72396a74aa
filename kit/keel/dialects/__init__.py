"""The databases that a service can use. What differs between them is in one module for each, and nowhere else.

Another one is a module with a subclass of Dialect, its name in DIALECTS, its driver in kit/pyproject.toml, and a server
for the tests in tests/support/databases.py. What the kit and the domains take for granted of each: INSERT, UPDATE and
DELETE with RETURNING, something like ON CONFLICT, and FOR UPDATE SKIP LOCKED. MySQL, for one, has no RETURNING.
"""

from sqlalchemy.engine import URL

from keel.dialects.base import Connecting, Dialect, Failure, Insert
from keel.dialects.postgresql import PostgreSQL
from keel.dialects.sqlite import SQLite

__all__ = ["DIALECTS", "Connecting", "Dialect", "Failure", "Insert", "example", "of", "parse"]

DIALECTS: tuple[Dialect, ...] = (PostgreSQL(), SQLite())  # the first is the one to take in production

_BY_SCHEME = {scheme: dialect for dialect in DIALECTS for scheme in dialect.schemes}


def of(url: URL) -> Dialect:
    """The dialect of a URL that `parse` returned."""
    return _BY_SCHEME[url.drivername]


def example() -> str:
    """URLs of all kinds, for messages."""
    return " or ".join(dialect.example for dialect in DIALECTS)


def parse(url: URL) -> URL:
    """The URL, checked, with its asyncio driver.

    Raises:
        ValueError: the message says what the URL must be, without showing it.
    """
    dialect = _BY_SCHEME.get(url.drivername)
    if dialect is None:
        schemes = " or ".join(f"{each.schemes[0]}://" for each in DIALECTS)
        raise ValueError(f"must begin with {schemes}, as in {example()}")
    return dialect.checked(url.set(drivername=dialect.driver), example())
