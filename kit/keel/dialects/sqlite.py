"""SQLite, by the driver aiosqlite: for development and tests."""

import contextlib
from typing import Any, cast

from sqlalchemy import ColumnElement, Double, FromClause, String, Table, bindparam, func, literal, literal_column
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from keel.dialects.base import Dialect, Failure, Insert

PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000")
NO_TABLE, NO_COLUMN = "no such table", "no such column"  # there are no codes for these, only words
EPOCH_DAY = 2440587.5  # 1970 as a Julian day
DAY_SECONDS = 86400.0
READ_ONLY = "attempt to write a readonly database"


class SQLite(Dialect):
    """A file. Its errors have words for codes."""

    name = "sqlite"
    title = "SQLite"
    driver = "sqlite+aiosqlite"
    schemes = ("sqlite", "sqlite+aiosqlite")
    example = "sqlite:///file"
    is_file = True
    unredacted_loggers = ("aiosqlite",)
    autocommits = False  # a round trip to the connection's thread

    def checked(self, url: URL, example: str) -> URL:
        """The URL of a file."""
        del example
        if not url.database or ":memory:" in url.database:
            raise ValueError("must name a file, as in sqlite:///file: the schema is not migrated in memory")
        return url

    def demands_tls(self, url: URL) -> bool:
        """A file needs none."""
        del url
        return True

    def set_up(self, connection: Any) -> None:
        """Readers do not wait for a writer, writers wait for each other, and foreign keys are looked after."""
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def open_file(self, url: URL) -> None:
        """Read the file."""
        import sqlite3  # noqa: PLC0415  # 1 MB that no server with another database needs

        try:
            with contextlib.closing(sqlite3.connect(str(url.database))) as connection:
                connection.execute("PRAGMA schema_version")
        except sqlite3.OperationalError as error:
            raise ValueError(
                f"cannot open {url.database}: {error}. Name a file in a directory that exists and is writable."
            ) from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{url.database} is not a SQLite database: {error}. "
                "Name another file; if it does not exist, it is created."
            ) from error

    def insert(self, table: Table) -> Insert:
        """INSERT … ON CONFLICT."""
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415  # memory that nobody with another database needs

        return cast(Insert, sqlite.insert(table))

    def json_pairs(self, parameter: str) -> FromClause:
        """Values are of the type that they have in JSON."""
        return func.json_each(bindparam(parameter, type_=String)).table_valued("key", "value", name="pairs")

    def unix_time(self) -> ColumnElement[float]:
        """That of the process's machine."""
        days = func.julianday(literal_column("'now'"), type_=Double) - literal(EPOCH_DAY)
        return days * literal(DAY_SECONDS)

    def failure(self, error: BaseException) -> Failure | None:
        """By the words of the error."""
        if isinstance(error, OperationalError):
            words = str(error.orig)
            if words.startswith((NO_TABLE, NO_COLUMN)):
                return Failure.SCHEMA
            if words.startswith(READ_ONLY):
                return Failure.READ_ONLY
        return super().failure(error)

    def lacks_table(self, error: DBAPIError) -> bool:
        """By its words."""
        return str(error.orig).startswith(NO_TABLE)
