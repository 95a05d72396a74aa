"""A request to another service: one exchange, without redirects, proxies, cookies or retries."""

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from keel import happy_eyeballs

DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Answer:
    """A response."""

    status: int
    body: bytes


async def send(
    method: str,
    address: str,
    headers: Mapping[str, str],
    *,
    max_bytes: int,
    seconds: float,
    allowed: Callable[[str], bool] | None = None,
) -> Answer:
    """Send a request without a body.

    Args:
        method: such as GET.
        address: an absolute URL, http or https.
        headers: those beside Host.
        max_bytes: how much of the response's body is read.
        seconds: how long the other side may be silent. Limit the whole time with asyncio.timeout.
        allowed: which IP addresses may be asked (`happy_eyeballs.connect`).

    Raises:
        OSError, HTTPException: there is no response.
    """
    url = urlsplit(address)
    connected = await happy_eyeballs.connect(url.hostname or "", url.port or DEFAULT_PORTS[url.scheme], allowed)
    connected.settimeout(seconds)
    exchange = _Exchange(url, connected)
    try:
        return await asyncio.to_thread(exchange.send, method, headers, max_bytes)
    finally:
        exchange.abort()


class _Exchange:
    """An exchange over a connected socket, run in a thread."""

    def __init__(self, url: SplitResult, connected: socket.socket) -> None:
        self.url = url
        self.socket = connected

    def send(self, method: str, headers: Mapping[str, str], max_bytes: int) -> Answer:
        connection = self._connection()
        try:
            if isinstance(self.socket, ssl.SSLSocket):
                self.socket.do_handshake()
            path = self.url._replace(scheme="", netloc="", fragment="").geturl() or "/"
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            return Answer(response.status, response.read(max_bytes))
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.url.hostname or "", self.url.port
        connection = http.client.HTTPConnection(host, port)
        if self.url.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, context=context)
            self.socket = context.wrap_socket(self.socket, server_hostname=host, do_handshake_on_connect=False)
        connection.sock = self.socket
        return connection

    def abort(self) -> None:
        """End a `send` that is still waiting: the time-out of a socket starts again with each byte."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)  # not SSLSocket's, which is not thread-safe
