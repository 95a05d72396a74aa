"""The record of a request and its response, as seen from outside, for the metrics and the access log."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from keel.observability import route_template

# nginx's status for a client that disconnects before the response. It is not the service's fault, so not a 5xx.
CLIENT_CLOSED_REQUEST = 499
# Responses slower than this many seconds trigger a check whether the client is still connected.
DISCONNECT_CHECK_AFTER_SECONDS = 0.1
STREAM = "keel.stream"
"""Key in the scope of a request whose response is a stream, whatever its content type (keel.http.streams)."""
EVENT_STREAM = b"text/event-stream"


def is_stream(scope: Scope, message: Message) -> bool:
    """Whether the response that begins with `message` is a stream."""
    for name, value in message.get("headers", ()):
        if name == b"content-type":
            return STREAM in scope or value.startswith(EVENT_STREAM)
    return STREAM in scope


class OpenStream(Protocol):
    """What becomes of a response that is a stream."""

    @property
    def failed(self) -> bool:
        """Whether its route is to blame for its end."""

    async def send(self, message: Message) -> None:
        """Send a piece of its body."""

    def close(self) -> None:
        """It has ended."""


class Told(Protocol):
    """What the access log and the metrics are told of a request; its attributes are explained below."""

    @property
    def scope(self) -> Mapping[str, Any]:
        """The ASGI scope, with its method and state."""

    @property
    def close_code(self) -> int | None:
        """Of a WebSocket that has been accepted, the code with which it was closed."""

    route: str
    status: int
    seconds: float
    received: int
    sent: int
    failed: bool
    left: bool
    first_byte: float | None


class RequestRecord:
    """What is recorded of one request, from its first message to the last of its response.

    It wraps the `receive` and `send` of the request, and calls `tell` once, at the end. What a route does after that,
    as Starlette's background tasks do, is not part of the request: no client waits for it.
    """

    close_code: int | None = None
    __slots__ = (
        "_begin",
        "_gone",
        "_receive",
        "_send",
        "_tell",
        "_whole",
        "ended",
        "failed",
        "first_byte",
        "left",
        "received",
        "route",
        "scope",
        "seconds",
        "sent",
        "started",
        "status",
        "stream",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        tell: Callable[["RequestRecord"], None],
        begin: Callable[["RequestRecord", Message, Send], OpenStream] | None = None,
    ) -> None:
        """`begin` is told of a response that is a stream; without it, all are as any other."""
        self.scope = scope
        self.ended = False
        self.route = route_template.UNMATCHED
        """Template of the route; set by `end`."""
        self.status = 0
        """Status of the response; 0 until it begins."""
        self.started = perf_counter()
        """When the request began, by perf_counter()."""
        self.seconds = 0.0
        """Duration; set by `end`."""
        self.received = 0
        """Bytes of the request's body that were read."""
        self.sent = 0
        """Bytes of the response's body."""
        self.failed = False
        """Whether the application raised: the response is missing or incomplete."""
        self.left = False
        """Whether the client disconnected before the end of the response."""
        self.stream: OpenStream | None = None
        """What the response has become, if it is a stream."""
        self.first_byte: float | None = None
        """Seconds until a stream began; None for any other response."""
        self._begin = begin
        self._gone = False  # whether the client disconnected after the response began
        self._whole = False
        self._tell = tell
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """Receive a message, and record the bytes of the body or the disconnect."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        elif not self.status:
            self.left = True
        else:
            self._gone = True
        return message

    # Not async: that would cost every request two more coroutines.
    def send(self, message: Message) -> Awaitable[None]:
        """Send a message, and record the status and the bytes of the body."""
        if message["type"] == "http.response.start":
            status = message["status"]
            # A 5xx stays one, even if it took so long that the client has disconnected.
            if not self.left and status < 500 and perf_counter() - self.started > DISCONNECT_CHECK_AFTER_SECONDS:
                return self._send_late(message)
            self.status = CLIENT_CLOSED_REQUEST if self.left else status
            if self._begin is not None and is_stream(self.scope, message):
                self._become_stream(message)
        elif self.stream is not None:
            return self.stream.send(message)
        else:
            if not self.left:
                self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.end(failed=False)
        return self._send(message)

    async def _send_late(self, message: Message) -> None:
        await self._look_for_client()
        self.status = CLIENT_CLOSED_REQUEST if self.left else message["status"]
        if self._begin is not None and is_stream(self.scope, message):
            self._become_stream(message)
        await self._send(message)

    def _become_stream(self, message: Message) -> None:
        if self._begin is not None and not self.left:
            self.seconds = self.first_byte = perf_counter() - self.started
            self.route = route_template.template(self.scope)
            self.stream = self._begin(self, message, self._send)

    def end(self, failed: bool) -> None:
        """Complete the record and tell it, the first time; `failed` says that the application raised."""
        if self.ended:
            return
        self.ended = True
        self.seconds = perf_counter() - self.started
        if failed and self._gone:
            self.left = True
        self.failed = failed
        self.route = route_template.template(self.scope)
        if not self.status:
            self.status = CLIENT_CLOSED_REQUEST if self.left else 500
        if self.stream is not None:
            self.stream.close()
            self.failed = failed or self.stream.failed
            self.left = self.left and not self.stream.failed
        self._tell(self)

    async def _look_for_client(self) -> None:
        """ASGI does not report a disconnect while the route is running, so poll for it."""
        names = {name for name, _ in self.scope["headers"]}
        if not self._whole and not names.isdisjoint({b"content-length", b"transfer-encoding"}):
            return  # receiving would consume a part of the body that the route may still read
        request = Request(self.scope, self.receive)
        # Twice: if nobody has read the empty body of a request without one, the first message is that.
        self.left = await request.is_disconnected() or await request.is_disconnected()
