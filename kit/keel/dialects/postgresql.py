"""PostgreSQL, by the driver asyncpg."""

import os
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import sqlalchemy
from sqlalchemy import JSON, ColumnElement, Double, FromClause, String, Table, bindparam, extract, func, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from keel.compat.asyncpg import socket_of
from keel.dialects.base import Connecting, Dialect, Failure, Insert
from keel.patience import Patience

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

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
# Through a pooler each transaction may run on another server connection, which lacks the statements prepared on the one
# before. So no prepared statement is cached or named. Poolers also refuse most startup parameters.
THROUGH_A_POOLER: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
NO_TABLE = "42P01"


class PostgreSQL(Dialect):
    """The codes are SQLSTATEs."""

    name = "postgresql"
    title = "PostgreSQL"
    driver = "postgresql+asyncpg"
    schemes = ("postgresql", "postgres", "postgresql+asyncpg")
    example = "postgresql://user:password@host/name"
    tls_advice = "add ?sslmode=verify-full to APP_DATABASE_URL"
    read_only_query = "SELECT current_setting('transaction_read_only') = 'on'"
    # 08 connection, 0A000 a plan from before a migration (the driver then discards its plans), 25006 read only (a
    # former primary), 25P03 idle too long, 26000 and 42P05 a pooler that mixes up prepared statements, 28 password (it
    # is being changed), 40 deadlock, 42P01 and 42703 the table or column does not exist yet, 53 resources, 55P03 lock,
    # 57 shutdown or time-out, 58 the server's disk.
    passing = (
        *("08", "0A000", "25006", "25P03", "26000", "28", "40"),
        *("42703", "42P01", "42P05", "53", "55P03", "57", "58"),
    )
    failures: ClassVar = {
        "57014": Failure.STATEMENT_TIMEOUT,
        "25006": Failure.READ_ONLY,
        NO_TABLE: Failure.SCHEMA,
        "42703": Failure.SCHEMA,
        "53300": Failure.EXHAUSTED,
    }
    stale_plan = "0A000"
    no_right = "42501"

    def checked(self, url: URL, example: str) -> URL:
        """The URL with libpq's sslmode under the name that asyncpg has for it."""
        directory = url.query.get("host")  # of a Unix socket, as Cloud SQL has
        if not (url.host or directory) or not url.database:
            raise ValueError(f"must name a host and a database, as in {example}")
        if "," in (url.host or ""):
            raise ValueError(f"must name one host, that of the primary, as in {example}")
        if directory is not None and (url.host or not str(directory).startswith("/")):
            raise ValueError("must name a host, or with ?host= the directory of a Unix socket, and not both")
        # asyncpg takes certificates from variables such as PGSSLROOTCERT.
        query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
        if strangers := sorted(set(query) - {"ssl", "host"}):
            hints = [f"{name}: {INSTEAD[name]}" if name in INSTEAD else name for name in strangers]
            raise ValueError(f"has unknown parameters ({'; '.join(hints)}): only sslmode and host are supported")
        if query.get("ssl", "prefer") not in SSL_MODES:
            raise ValueError(f"has an unknown sslmode: it must be one of {', '.join(SSL_MODES)}")
        return url.set(query=query)

    def demands_tls(self, url: URL) -> bool:
        """By the URL, or else by PGSSLMODE, which the driver reads, too."""
        mode = url.query.get("ssl") or os.environ.get("PGSSLMODE")
        return not url.host or mode in TLS_MODES

    def connect_args(self, wanted: Connecting) -> dict[str, Any]:
        """Time-outs of the client and the server."""
        arguments: dict[str, Any] = {
            "async_creator_fn": partial(_connect, wanted.connect_seconds),
            "server_settings": {"application_name": wanted.application},
        }
        if wanted.statement_seconds is not None:
            arguments["command_timeout"] = wanted.statement_seconds + 1  # for a server that does not answer at all
        if wanted.is_pooled:
            return arguments | THROUGH_A_POOLER
        arguments["server_settings"] |= _time_outs(wanted)
        return arguments

    def set_time_outs(self, wanted: Connecting) -> str:
        """Those that a connection without a pooler has from the start."""
        settings = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _time_outs(wanted).items())
        return f"SELECT {settings}"

    def socket_of(self, connection: Any) -> socket.socket | None:
        """asyncpg has no public way to it."""
        return socket_of(connection)

    def is_closed(self, connection: Any) -> bool:
        """The driver sees the end of a connection."""
        return bool(connection.is_closed())

    def drop(self, connection: Any) -> None:
        """An orderly close would take 2 s."""
        connection.terminate()

    def insert(self, table: Table) -> Insert:
        """INSERT … ON CONFLICT."""
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415  # memory that nobody with another database needs

        return cast(Insert, postgresql.insert(table))

    def json_pairs(self, parameter: str) -> FromClause:
        """Values are text."""
        whole = sqlalchemy.cast(bindparam(parameter, type_=String), JSON)
        return func.json_each_text(whole).table_valued("key", "value", name="pairs")

    def unix_time(self) -> ColumnElement[float]:
        """When the statement began, so that an index can be searched for it."""
        return sqlalchemy.cast(extract("epoch", func.statement_timestamp()), Double)

    async def try_lock(self, connection: "AsyncConnection", number: int) -> bool:
        """An advisory lock.

        It is tried. A statement that waits for the lock would hold a snapshot, and CREATE INDEX CONCURRENTLY in the
        migration that has the lock would wait for that snapshot: a deadlock.
        """
        return bool(await connection.scalar(text(f"SELECT pg_try_advisory_xact_lock({number})")))

    async def hold_lock(self, connection: "AsyncConnection") -> None:
        """By a simple query: it also closes the portal of the statement before (55.2.3), which has a snapshot."""
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

    def code(self, error: BaseException) -> str:
        """The SQLSTATE. It is taken from the driver's error if SQLAlchemy's has none, as for a stale plan."""
        translated = getattr(error, "orig", None)
        causes = (translated, getattr(translated, "__cause__", None), error)
        return next((str(state) for cause in causes if (state := getattr(cause, "sqlstate", None))), "")

    def lacks_table(self, error: DBAPIError) -> bool:
        """By its code."""
        return self.code(error) == NO_TABLE

    def advice(self, error: BaseException) -> str | None:
        """For a pooler that nobody has told of."""
        if "unsupported startup parameter" in str(error):
            return "behind a pooler set APP_DATABASE_POOLER=transaction"
        return None


async def _connect(seconds: float, **parameters: Any) -> Any:
    """As asyncpg does it with a time-out, for which moments without processor time hardly count."""
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415  # memory that nobody with another database needs

    async with Patience(seconds):
        return await asyncpg.connect(**parameters, timeout=None)


def _time_outs(wanted: Connecting) -> dict[str, str]:
    """The server's settings that end statements and transactions that take too long, in milliseconds."""
    milliseconds = wanted.time_out_milliseconds
    if milliseconds is None:
        return {}
    return {
        "statement_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(2 * milliseconds),
    }
