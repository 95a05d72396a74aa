"""The client of the package valkey. A module of its own, so that without Valkey nobody waits 0.1 s for the import."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from valkey.asyncio import BlockingConnectionPool, Connection, SSLConnection, Valkey
from valkey.asyncio.connection import AbstractConnection, parse_url
from valkey.exceptions import ReadOnlyError, ResponseError, TimeoutError, ValkeyError  # noqa: A004  # its own time-out

from keel.data import keepalive
from keel.settings.connection_urls import parse_valkey_url
from keel.watched_file import WatchedFile

__all__ = ["ReadOnlyError", "ResponseError", "TimeoutError", "Valkey", "ValkeyError", "create_client"]

MAX_CONNECTIONS = 20

Options = Mapping[str, Any]


class _Following(AbstractConnection):
    """Connects with the address and password that the URL has at that moment, as its file may have changed."""

    def __init__(self, *, current: Callable[[], Options], **options: Any) -> None:
        self._current = current
        super().__init__(**options)

    async def connect(self) -> None:
        if not self.is_connected:
            options = self._current()
            self.host, self.port = options["host"], options.get("port", 6379)
            self.username, self.password = options.get("username"), options.get("password")
            self.db = options.get("db", 0)
        await super().connect()  # type: ignore[no-untyped-call]


class _Plain(_Following, Connection):
    pass


class _TLS(_Following, SSLConnection):
    pass


def create_client(url: str, file: Path | None, seconds: float) -> Valkey:
    """A client of the server at `url`, or of the one that `file` names when it connects. It does not connect yet.

    `seconds` limits only opening and closing a connection: the caller must limit the wait for an answer.
    """
    given = parse_url(url)
    followed = WatchedFile(file, lambda text: parse_url(parse_valkey_url(text.strip())), given) if file else None
    tls = {}
    if "connection_class" in given:
        tls = {"ssl_check_hostname": True, "ssl_ca_certs": given.get("ssl_ca_certs")}
    pool = BlockingConnectionPool(
        connection_class=_TLS if tls else _Plain,
        max_connections=MAX_CONNECTIONS,
        timeout=None,
        current=followed.current if followed else lambda: given,
        socket_timeout=None,
        socket_connect_timeout=seconds,
        socket_keepalive=True,
        socket_keepalive_options=keepalive.OPTIONS,
        lib_name=None,  # saves a round trip for each connection
        lib_version=None,
        **tls,
    )
    return Valkey.from_pool(pool)
