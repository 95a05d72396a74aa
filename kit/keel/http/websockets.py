"""WebSockets (RFC 6455): logged, counted, limited, and closed when the server drains.

They need the package websockets (or wsproto) beside the application, as with any other server. Without it an offer of
the protocol is ignored, and the request is answered as what it is: GET. keel.http.websocket_access has what a service
checks besides.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Mapping
from time import perf_counter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.compat.uvicorn import websocket_protocol
from keel.observability import access_log, request_id, route_template, tracing
from keel.observability.metrics import RequestMetrics

SWITCHING, FORBIDDEN, BROKEN = 101, 403, 500
NORMAL, BROKEN_OFF, INTERNAL_ERROR = 1000, 1006, 1011  # RFC 6455, section 7.4.1
# The codes that are counted by themselves: a client may close with any other, and must not make series of its own.
CLOSE_CODES = (NORMAL, 1001, 1002, 1005, BROKEN_OFF, 1007, 1008, 1009, INTERNAL_ERROR, 1012)
OTHER = "other"
NOTICE_SECONDS = 5.0  # for a handler to notice that the connection has ended, before it is cancelled
GONE = "keel.gone"
"""Key in the scope of a connection that has ended while its handler has not."""
HEAR_SECONDS = 1.0  # for the server to say why a connection has ended, after its handler has
LINGER_SECONDS = 2  # for a client to read why its connection is closed, and to say that it has


def protocol(spread: float = 0) -> type[Any] | None:
    """uvicorn's protocol of a connection that has become a WebSocket; None if its library is not installed.

    `spread` is over how many seconds connections close when the server drains, so that not all clients come back at
    once. It is half of the time that a drain has: to read why, and to notice it, must fit into the other half.
    """
    found = websocket_protocol()
    chosen = {
        "spread": spread,
        "linger": min(LINGER_SECONDS, spread / 3) if spread else LINGER_SECONDS,
        "notice": min(NOTICE_SECONDS, spread / 2),
    }
    return None if found is None else type("WebSocketProtocol", (_Connection, found), chosen)


class _Connection:
    """What a server asks of each connection.

    The server closes it after it has stopped accepting new ones, with 1012, "service restart": clients then connect
    anew. A handler that does not notice the end, because it does not receive, is cancelled.
    """

    spread: float
    linger: float
    notice: float
    app: ASGIApp
    initial_response: object = None
    scope: dict[str, Any]
    client: tuple[str, int] | None
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)  # type: ignore[misc]  # uvicorn's, which is the next class
        if self.client is not None:
            self.client = (self.client[0].removeprefix("::ffff:"), self.client[1])
        self._application = self.app
        self.app = self._serve
        self._task: asyncio.Task[Any] | None = None
        self._refused = False

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._task = asyncio.current_task()
        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:
            if GONE not in scope or self._task is None or self._task.uncancel():
                raise
        finally:
            self._task = None
            if self.initial_response is not None:
                self.handshake_complete = True  # refused with a response: uvicorn would log an error

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)  # type: ignore[misc]
        self.loop.call_later(self.notice, self._give_up)

    def _give_up(self) -> None:
        if self._task is not None:
            self.scope[GONE] = True
            self._task.cancel()

    def shutdown(self) -> None:
        """Close the connection within `spread`."""
        self.loop.call_later(random.uniform(0, self.spread), self._close)  # noqa: S311

    def _close(self) -> None:
        """The client says that it has read the code (RFC 6455, section 7.1.1); only then the connection is closed.

        To a client that finds it closed with the code still unread, it was broken: 1006.
        """
        transport = self.transport
        if not transport.is_closing():
            self.transport = _Lingering(transport)  # type: ignore[assignment]
            super().shutdown()  # type: ignore[misc]
            self.transport = transport
            self.close_timer = self.loop.call_later(self.linger, transport.close)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)  # type: ignore[misc]

    def handle_parser_exception(self) -> None:
        """Close the connection after what is against the protocol, such as a message that is too large.

        It lingers: to close with unread bytes would reset it, and the client could lose the reason.
        """
        self._refused = True
        transport = self.transport
        self.transport = _Lingering(transport)  # type: ignore[assignment]
        super().handle_parser_exception()  # type: ignore[misc]
        self.transport = transport
        transport.resume_reading()
        transport.write_eof()
        # Because of this timer the end of the handler does not close it either.
        self.close_timer = self.loop.call_later(LINGER_SECONDS, transport.abort)

    def close_after_response(self) -> None:
        """It goes on until the port closes."""

    def enforce_head_timeout(self, now: float) -> None:
        """Its head has arrived."""


class _Lingering:
    """A transport that writes, and is closed later."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.write = transport.write

    def close(self) -> None:
        """Not yet."""


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
        self.open = Gauge("websockets_open", "WebSockets that are open now.", ["route"], registry=registry)
        text = "Messages on WebSockets, by direction: received are the clients', sent the application's."
        self.messages = Counter("websocket_messages", text, ["route", "direction"], registry=registry)
        text = "WebSockets that have ended, by the code of RFC 6455 with which they were closed."
        self.ended = Counter("websockets_ended", text, ["route", "code"], registry=registry)

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
            record.failed = not record.disconnected and GONE not in scope
            raise
        finally:
            if record.disconnected or GONE in scope:
                await record.hear_why()
            record.end()


class _Record:
    """One WebSocket, with what the access log and the metrics want to know of a request."""

    left = False
    first_byte: float | None = None

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
        self.close_code: int | None = None
        """The first code of a close frame, of either side; None while it is open, and if it was refused."""
        self._header = header
        self._owner = owner
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.receive":
            self.received += _size(message)
            self._messages_received.inc()
        elif message["type"] == "websocket.disconnect":
            self.disconnected = True
            self._closed(message)
        return message

    async def hear_why(self) -> None:
        """Take the code of a connection that has ended from what its handler has not received."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAR_SECONDS):
                while self.status == SWITCHING and self.close_code is None:
                    message = await self._receive()
                    if message["type"] == "websocket.disconnect":
                        self._closed(message)

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.send":
            self.sent += _size(message)
            self._messages_sent.inc()
        elif kind == "websocket.accept":
            message["headers"] = [*message.get("headers", ()), self._header]
            self._answer(SWITCHING)
            self._opened()
        elif kind == "websocket.http.response.start":
            message["headers"] = [*message.get("headers", ()), self._header]
            self._answer(message["status"])
        elif kind == "websocket.close":
            if not self.status:
                self._answer(FORBIDDEN)
            self.failed = message.get("code") == INTERNAL_ERROR
            self._closed(message)
        try:
            await self._send(message)
        except OSError:  # the client has gone
            self.disconnected = True
            raise

    def end(self) -> None:
        if self.status == SWITCHING:
            self._owner.open.labels(self.route).dec()
            if self.close_code is None:
                self.close_code = BROKEN_OFF  # the handler has returned without a close frame
            code = self.close_code if self.close_code in CLOSE_CODES else OTHER
            self._owner.ended.labels(self.route, code).inc()
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

    def _opened(self) -> None:
        self._owner.open.labels(self.route).inc()
        self._messages_received, self._messages_sent = (
            self._owner.messages.labels(self.route, direction) for direction in ("received", "sent")
        )
        for code in CLOSE_CODES:  # before the first one ends so: rate() needs two points
            self._owner.ended.labels(self.route, code)

    def _closed(self, message: Message) -> None:
        if self.status == SWITCHING and self.close_code is None:
            self.close_code = message.get("code") or NORMAL


def _size(message: Message) -> int:
    data, text = message.get("bytes"), message.get("text")
    return len(data) if data is not None else len((text or "").encode())
