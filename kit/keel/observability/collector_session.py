"""The HTTP session of the trace exporter. It connects by keel.happy_eyeballs.

A module of its own, so that without a collector nobody waits for the import.
"""

import socket
from typing import Any

from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from keel import happy_eyeballs


def create_session() -> Session:
    """A session that tries all addresses of a name."""
    session = Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


class _Racing(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connected = happy_eyeballs.connect_blocking(self._dns_host, self.port, self.timeout)
        for option in self.socket_options or ():
            connected.setsockopt(*option)
        return connected


class _RacingTLS(_Racing, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Racing


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _RacingTLS


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
