"""Creates the SQLAlchemy engine: pool, time-outs, and reconnecting after a failover or a change of the password."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Dialect, ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import NullPool

from keel.compat.asyncpg import socket_of
from keel.data import keepalive
from keel.data.async_engine import AsyncEngine, create_async_engine
from keel.data.database_pool import PatientPool
from keel.settings import Settings
from keel.settings.connection_urls import parse_database_url
from keel.watched_file import WatchedFile

# Through a pooler each transaction may run on another server connection, which lacks the statements prepared on the one
# before. So no prepared statement is cached or named. Poolers also refuse most startup parameters.
THROUGH_A_POOLER: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: "",
}
READ_ONLY = "25006"  # SQLSTATE read_only_sql_transaction


def create_engine(settings: Settings, **options: Any) -> AsyncEngine:
    """An engine with the pool and the time-outs of `settings`; `options` go to SQLAlchemy."""
    options |= {"hide_parameters": True}  # errors are logged
    if settings.is_sqlite:
        options = {name: options[name] for name in ("hide_parameters", "poolclass") if name in options}
        engine = create_async_engine(settings.database, **options)
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        return engine
    if options.get("poolclass") is not NullPool:
        options = {
            "poolclass": PatientPool,
            "pool_size": settings.database_pool_size,
            "max_overflow": settings.database_pool_overflow,
            "pool_timeout": settings.database_pool_timeout_seconds,
            "pool_recycle": 1800,
        } | options
    timeout = settings.database_statement_timeout_seconds
    connect_args = {
        "timeout": settings.database_connect_timeout_seconds,
        "command_timeout": timeout + 1,  # for a server that does not answer at all
        "server_settings": {"application_name": settings.product.name, **time_outs(settings)},
    } | options.pop("connect_args", {})
    if settings.database_pooler == "transaction":
        connect_args |= THROUGH_A_POOLER | {"server_settings": {"application_name": settings.product.name}}
    engine = create_async_engine(settings.database, connect_args=connect_args, **options)
    event.listen(engine.sync_engine, "connect", _keep_alive)
    event.listen(engine.sync_engine, "checkout", _replace_if_closed)
    event.listen(engine.sync_engine, "handle_error", _give_up_if_silent)
    event.listen(engine.sync_engine, "handle_error", _leave_if_read_only)
    if file := settings.secret_file("database_url"):
        _follow(engine, WatchedFile(file, lambda text: _same_kind(text, settings.database), settings.database))
    return engine


def time_outs(settings: Settings) -> dict[str, str]:
    """PostgreSQL's settings that end statements and transactions that take too long, in milliseconds."""
    milliseconds = int(settings.database_statement_timeout_seconds * 1000)
    return {
        "statement_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(2 * milliseconds),
    }


def _follow(engine: AsyncEngine, url: WatchedFile[URL]) -> None:
    """Open new connections with the address and password that the URL's file has at that moment."""

    def connect(dialect: Dialect, _record: object, _args: object, parameters: dict[str, Any]) -> None:
        for name in ("host", "port", "user", "password", "database", "ssl"):
            parameters.pop(name, None)
        parameters.update(dialect.create_connect_args(url.current())[1])

    event.listen(engine.sync_engine, "do_connect", connect)


def _same_kind(text: str, before: URL) -> URL:
    url = parse_database_url(text.strip())
    if url.drivername != before.drivername:
        raise ValueError("must go on naming a PostgreSQL database until a restart")
    return url


def _keep_alive(connection: Any, _record: object) -> None:
    keepalive.enable(socket_of(connection.driver_connection))


def _replace_if_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Replace a connection that the server has closed, for example because it was restarted.

    The driver knows that without a round trip; SQLAlchemy's pool_pre_ping would take three each time.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _give_up_if_silent(context: ExceptionContext) -> None:
    """After the client's own time-out, drop this connection and all others of the pool at once.

    The server ends statements earlier than that, so it no longer answers. An orderly close would take 2 s.
    """
    if isinstance(context.original_exception, TimeoutError) and context.connection is not None:
        driver: Any = context.connection.connection.driver_connection
        driver.terminate()
        context.is_disconnect = True


def _leave_if_read_only(context: ExceptionContext) -> None:
    """After a failover the pool's connections lead to the former primary: replace them, resolving the name again."""
    if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
