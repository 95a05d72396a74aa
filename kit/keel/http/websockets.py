"""WebSockets of an application that the kit serves: passed through, logged, and closed when the server drains.

They need the package websockets (or wsproto) beside the application, as with any other server. Without it an offer of
the protocol is ignored, and the request is answered as what it is: GET.
"""

from collections.abc import Awaitable, Mapping
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Gauge
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from keel.observability import access_log, request_id, route_template, tracing
from keel.observability.metrics import RequestMetrics

SWITCHING, FORBIDDEN, BROKEN = 101, 403, 500


def protocol() -> type[Any] | None:
    """uvicorn's protocol of a connection that has become a WebSocket; None if its library is not installed."""
    found: Any = AutoWebSocketsProtocol
    return None if found is None else type("WebSocketProtocol", (_Connection, found), {})


class _Connection:
    """What a server asks of each connection.

    The server closes it when it stops accepting new ones, with 1012, "service restart": clients then connect anew.
    """

    client: tuple[str, int] | None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]  # uvicorn's, which is the next class
        if self.client is not None:
            self.client = (self.client[0].removeprefix("::ffff:"), self.client[1])

    def close_after_response(self) -> None:
        """It goes on until the port closes."""

    def enforce_head_timeout(self, now: float) -> None:
        """Its head has arrived."""


class WebSocketRecordMiddleware:
    """Measures the handshake of each WebSocket as a request, and writes a line to the access log when it has ended.

    The status is 101 if the application has accepted it. How long it was open is in the log: as the duration of a
    request it would spoil those of all others.
    """

    def __init__(self, app: ASGIApp, websockets: ASGIApp, metrics: RequestMetrics, registry: CollectorRegistry) -> None:
        """`websockets` is the application that they go to, and `app` what all else goes to."""
        self.app = app
        self.websockets = websockets
        self.metrics = metrics
        self.open = Gauge("websockets_open", "WebSockets that are open now.", registry=registry)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "websocket":
            return self.app(scope, receive, send)
        return self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        state = scope.setdefault("state", {})
        header = request_id.of(headers)
        state["request_id"] = header[1].decode()
        if trace := tracing.ids(scope, headers.get(b"traceparent")):
            state["trace"] = trace
        request_id.current.set(state)
        record = _Record(scope, receive, send, header, self)
        try:
            await self.websockets(scope, record.receive, record.send)
        except BaseException:
            record.failed = not record.disconnected
            raise
        finally:
            record.end()


class _Record:
    """One WebSocket, with what the access log and the metrics want to know of a request."""

    left = False

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        header: tuple[bytes, bytes],
        owner: WebSocketRecordMiddleware,
    ) -> None:
        self.scope: Mapping[str, Any] = scope
        self.route = route_template.UNMATCHED
        self.status = 0
        """Of the handshake; 0 until it is answered."""
        self.started = perf_counter()
        self.seconds = 0.0
        self.received = 0
        """Bytes of the client's messages."""
        self.sent = 0
        """Bytes of the application's."""
        self.failed = False
        """Whether the application raised while the client was there."""
        self.disconnected = False
        self._header = header
        self._owner = owner
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive":
            self.received += _size(message)
        elif message["type"] == "websocket.disconnect":
            self.disconnected = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.send":
            self.sent += _size(message)
        elif kind == "websocket.accept":
            message["headers"] = [*message.get("headers", ()), self._header]
            self._answer(SWITCHING)
            self._owner.open.inc()
        elif kind == "websocket.http.response.start":
            message["headers"] = [*message.get("headers", ()), self._header]
            self._answer(message["status"])
        elif kind == "websocket.close" and not self.status:
            self._answer(FORBIDDEN)
        try:
            await self._send(message)
        except OSError:  # the client has gone
            self.disconnected = True
            raise

    def end(self) -> None:
        if self.status == SWITCHING:
            self._owner.open.dec()
        elif not self.status:
            self.failed = True
            self._answer(BROKEN)
        self.seconds = perf_counter() - self.started
        access_log.write(self)

    def _answer(self, status: int) -> None:
        self.status = status
        self.seconds = perf_counter() - self.started
        self.route = route_template.template(dict(self.scope))
        self.scope = {**self.scope, "method": "GET"}
        self._owner.metrics.observe(self)


def _size(message: Message) -> int:
    data, text = message.get("bytes"), message.get("text")
    return len(data) if data is not None else len((text or "").encode())
