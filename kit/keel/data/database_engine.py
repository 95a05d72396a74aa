"""Creates the SQLAlchemy engine: pool, time-outs, and reconnecting after a failover or a change of the password."""

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from keel.data import keepalive
from keel.data.async_engine import AsyncEngine, create_async_engine
from keel.data.database_pool import PatientPool
from keel.dialects import Connecting, Dialect, Failure
from keel.settings import Settings
from keel.settings.connection_urls import parse_database_url
from keel.watched_file import WatchedFile

MADE_WITH = "keel.made_with"  # key of a connection's URL in what SQLAlchemy keeps of it


def create_engine(
    settings: Settings, *, migrates: bool = False, url: "FollowedUrl | None" = None, first: bool = True, **options: Any
) -> AsyncEngine:
    """An engine with the pool and the time-outs of `settings`; `options` go to SQLAlchemy.

    One that `migrates` has no pool, and a time-out for connecting alone. Engines may share what they know of the `url`;
    all but the `first` then leave it to that one to try another URL.
    """
    dialect = settings.dialect
    options["hide_parameters"] = True  # errors are logged
    if migrates:
        options["poolclass"] = NullPool
    if dialect.is_file:
        options = {name: options[name] for name in ("hide_parameters", "poolclass") if name in options}
        engine = create_async_engine(settings.database, **options)
        event.listen(engine.sync_engine, "connect", lambda connection, _record: dialect.set_up(connection))
        return engine
    if not migrates:
        options = {
            "poolclass": PatientPool.of(dialect),
            "pool_size": settings.database_pool_size,
            "max_overflow": settings.database_pool_overflow,
            "pool_timeout": settings.database_pool_timeout_seconds,
            "pool_recycle": 1800,
        } | options
    arguments = dialect.connect_args(connecting(settings, migrates=migrates))
    engine = create_async_engine(settings.database, connect_args=arguments, **options)
    _Connections(dialect).watch(engine)
    if url := url or FollowedUrl.of(settings):
        url.follow(engine, first=first)
    return engine


def connecting(settings: Settings, *, migrates: bool = False) -> Connecting:
    """What connections are to have; those that migrate have time for it."""
    name = settings.product.name
    return Connecting(
        application=f"{name}-migrate" if migrates else name,
        connect_seconds=settings.database_connect_timeout_seconds,
        statement_seconds=None if migrates else settings.database_statement_timeout_seconds,
        is_pooled=settings.database_pooler == "transaction",
    )


class FollowedUrl:
    """The URL that a secret file names at the moment; each new connection is made with it.

    Connections that were made with another one are replaced when they are next used, as soon as one with the new URL
    has succeeded: what is in the file before the server knows of it costs nobody a connection that works.
    """

    def __init__(self, file: Path, settings: Settings) -> None:
        dialect = settings.dialect
        self._file = WatchedFile(file, lambda text: _same_kind(text, dialect), settings.database)
        self._succeeded: URL | None = None

    @classmethod
    def of(cls, settings: Settings) -> "FollowedUrl | None":
        """That of the database; None if no file names it."""
        file = settings.secret_file("database_url")
        return cls(file, settings) if file else None

    def follow(self, engine: AsyncEngine, *, first: bool) -> None:
        """From now on. An engine that is the `first` tries a new URL at once; others wait until it has succeeded."""

        def replace_if_of_another(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
            now = self._file.current()
            if record.info[MADE_WITH] != now and (first or self._succeeded == now):
                raise DisconnectionError

        event.listen(engine.sync_engine, "do_connect", self._connect)
        event.listen(engine.sync_engine, "connect", self._connected)
        event.listen(engine.sync_engine, "checkout", replace_if_of_another)

    def _connect(
        self, dialect: SqlDialect, record: ConnectionPoolEntry, _args: object, parameters: dict[str, Any]
    ) -> None:
        url = record.info[MADE_WITH] = self._file.current()
        for name in ("host", "port", "user", "password", "database", "ssl"):
            parameters.pop(name, None)
        parameters.update(dialect.create_connect_args(url)[1])

    def _connected(self, _connection: object, record: ConnectionPoolEntry) -> None:
        self._succeeded = record.info[MADE_WITH]


def _same_kind(text: str, before: Dialect) -> URL:
    url = parse_database_url(text.strip())
    if url.drivername != before.driver:
        raise ValueError(f"must go on naming a {before.title} database until a restart")
    return url


class _Connections:
    """Sets up an engine's connections to a server, and gives up those that are of no more use."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def watch(self, engine: AsyncEngine) -> None:
        """From now on."""
        event.listen(engine.sync_engine, "connect", self._set_up)
        event.listen(engine.sync_engine, "checkout", self._replace_if_closed)
        event.listen(engine.sync_engine, "handle_error", self._give_up_if_silent)
        event.listen(engine.sync_engine, "handle_error", self._leave_if_read_only)

    def _set_up(self, connection: Any, _record: object) -> None:
        self._dialect.set_up(connection)
        if connected := self._dialect.socket_of(connection.driver_connection):
            keepalive.enable(connected)

    def _replace_if_closed(self, connection: Any, _record: object, _proxy: object) -> None:
        """Replace a connection that the server has closed, for example because it was restarted.

        The driver knows that without a round trip; SQLAlchemy's pool_pre_ping would take three each time.
        """
        if self._dialect.is_closed(connection.driver_connection):
            raise DisconnectionError

    def _give_up_if_silent(self, context: ExceptionContext) -> None:
        """After the client's own time-out, drop this connection and all others of the pool at once.

        The server ends statements earlier than that, so it no longer answers. An orderly close would wait for it.
        """
        if isinstance(context.original_exception, TimeoutError) and context.connection is not None:
            self._dialect.drop(context.connection.connection.driver_connection)
            context.is_disconnect = True

    def _leave_if_read_only(self, context: ExceptionContext) -> None:
        """After a failover the connections lead to the former primary: replace them, resolving the name again."""
        if self._dialect.failure(context.original_exception) is Failure.READ_ONLY:
            context.is_disconnect = True
