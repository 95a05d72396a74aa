"""What one database does otherwise than another. Whatever is not here is the same for all of them."""

import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import sqlalchemy
from sqlalchemy import ColumnElement, FromClause, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.sql.base import ReadOnlyColumnCollection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class Failure(StrEnum):
    """Why a database cannot serve now: values of the label `reason` of `database_unavailable_total`."""

    EXHAUSTED = "exhausted"
    STATEMENT_TIMEOUT = "statement_timeout"
    READ_ONLY = "read_only"
    SCHEMA = "schema"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Connecting:
    """What every connection is to have."""

    application: str
    """The client's name, which the server shows to operators."""
    connect_seconds: float
    statement_seconds: float | None
    """No statement takes longer; None for migrations, which may take long."""
    is_pooled: bool
    """A pooler in transaction mode is between: no two transactions need be on the same connection to the server."""

    @property
    def time_out_milliseconds(self) -> int | None:
        """`statement_seconds` as servers want it."""
        return None if self.statement_seconds is None else int(self.statement_seconds * 1000)


class Insert(sqlalchemy.Insert):
    """An INSERT that says what happens if the row is there already: what the databases' own ones have in common.

    It is a type alone. Each dialect makes one of SQLAlchemy's for its database.
    """

    inherit_cache = True

    @property
    def excluded(self) -> ReadOnlyColumnCollection[str, Any]:
        """The columns of the row that was to be inserted."""
        raise NotImplementedError

    def on_conflict_do_nothing(self) -> Self:
        """Leave the row that is there."""
        raise NotImplementedError

    def on_conflict_do_update(self, *, index_elements: Sequence[str], set_: Mapping[str, Any]) -> Self:
        """Change the row that has the same `index_elements`."""
        raise NotImplementedError


class Dialect(ABC):
    """A kind of database. Another one is a subclass in a module of its own, named in keel.dialects."""

    name: ClassVar[str]
    """SQLAlchemy's name, which is OpenTelemetry's `db.system.name`, too, and that of the module in keel.dialects."""
    title: ClassVar[str]
    """Its name in messages."""
    driver: ClassVar[str]
    """SQLAlchemy's name of the asyncio driver."""
    schemes: ClassVar[tuple[str, ...]]
    """Of URLs. The first one is named in messages; whichever was written, `driver` is used."""
    example: ClassVar[str]
    """A URL."""
    tls_advice: ClassVar[str] = ""
    """How to have every connection use TLS."""

    is_file: ClassVar[bool] = False
    """The database is a file of this process: it has no address and no time-outs, is migrated when the service starts,
    and is refused in production, where it would end with its pod."""
    autocommits: ClassVar[bool] = True
    """To switch a connection to autocommit takes no round trip: each single statement is then a transaction of itself,
    unless a pooler is between."""
    read_only_query: ClassVar[str | None] = None
    """Returns whether the server takes no writes, as a former primary; None if that cannot be."""

    passing: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the codes of errors that may pass by themselves, as opposed to mistakes in a statement."""
    failures: ClassVar[dict[str, Failure]] = {}
    """Failures by code; the others that may pass are UNREACHABLE."""
    stale_plan: ClassVar[str | None] = None
    """The code that says that a prepared statement is from before a migration. A second attempt succeeds."""
    no_right: ClassVar[str | None] = None
    """The code that says that the user may not read a table."""

    @abstractmethod
    def checked(self, url: URL, example: str) -> URL:
        """The URL as the driver wants it; `example` shows what one of any database looks like.

        Raises:
            ValueError: the message says what the URL must be, without showing it.
        """

    @abstractmethod
    def demands_tls(self, url: URL) -> bool:
        """Whether every connection uses TLS, or needs none, as a file or a Unix socket."""

    @abstractmethod
    def insert(self, table: Table) -> Insert:
        """An INSERT with an ON CONFLICT."""

    @abstractmethod
    def json_pairs(self, parameter: str) -> FromClause:
        """The names and values of a JSON object, as a table with the columns `key` and `value`.

        `parameter` is that of the object's text: one statement writes any number of rows, and is prepared once.
        """

    @abstractmethod
    def unix_time(self) -> ColumnElement[float]:
        """The time by the database's clock, in seconds since 1970: the clocks of processes differ."""

    @abstractmethod
    def lacks_table(self, error: DBAPIError) -> bool:
        """Whether the statement failed because there is no such table."""

    unredacted_loggers: ClassVar[tuple[str, ...]] = ()
    """Loggers of the driver whose debug lines contain the values that are written to the database."""

    # What follows is called for servers only, unless it says otherwise.

    def connect_args(self, wanted: Connecting) -> dict[str, Any]:
        """Arguments for the driver's connect function."""
        raise NotImplementedError

    def set_time_outs(self, wanted: Connecting) -> str:
        """A statement that sets the time-outs for its transaction, where a pooler lets no connection have them."""
        raise NotImplementedError

    def set_up(self, connection: Any) -> None:  # noqa: B027  # nothing, unless a database wants something
        """Prepare a new connection, given by the driver's DBAPI. For files, too."""

    def socket_of(self, connection: Any) -> socket.socket | None:
        """The socket of a driver's connection, which is to be kept alive."""
        raise NotImplementedError

    def is_closed(self, connection: Any) -> bool:
        """Whether the driver knows, without asking, that the server has closed a connection."""
        raise NotImplementedError

    def drop(self, connection: Any) -> None:
        """Close a driver's connection without waiting for the server."""
        raise NotImplementedError

    def open_file(self, url: URL) -> None:
        """Check that the file can be opened, and make it if there is none. For files only.

        Raises:
            ValueError: the message is a sentence that says why not, and what to do.
        """
        raise NotImplementedError

    async def try_lock(self, connection: "AsyncConnection", number: int) -> bool:
        """Take the lock `number` until the end of this transaction, without waiting; returns whether it was free.

        A session's lock would stay behind on a pooler's connection.
        """
        raise NotImplementedError

    async def hold_lock(self, connection: "AsyncConnection") -> None:
        """Let the transaction that has the lock be idle for as long as a migration takes, and be in nobody's way."""
        raise NotImplementedError

    # Errors, for all databases.

    def code(self, error: BaseException) -> str:
        """The database's code of an error; an empty text if it has none."""
        del error
        return ""

    def failure(self, error: BaseException) -> Failure | None:
        """Why the database cannot serve now; None if this error of the driver's will not pass by itself."""
        if code := self.code(error):
            return self.failures.get(code, Failure.UNREACHABLE) if code.startswith(self.passing) else None
        if isinstance(error, DBAPIError):
            lost = error.connection_invalidated or isinstance(error, InterfaceError | OperationalError)
            return Failure.UNREACHABLE if lost else None
        return None

    def advice(self, error: BaseException) -> str | None:
        """What an operator can do about an error; None if that is not known."""
        del error
        return None
