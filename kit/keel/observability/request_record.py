"""A request and its response as seen from outside: what the metrics and the access log tell of it."""

from collections.abc import Awaitable, Callable
from time import perf_counter

from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from keel.observability import route_template

# nginx's status for a client that left before there was an answer. No fault of ours, so no 5xx.
CLIENT_CLOSED_REQUEST = 499
# Responses slower than this many seconds trigger a check whether the client is still connected.
DISCONNECT_CHECK_AFTER_SECONDS = 0.1


class RequestRecord:
    """A request, from its first message to the last of its response. What a route does after that, as Starlette's
    background tasks do, is no part of it: nobody waits for it.

    `tell` is called once, at the end.
    """

    __slots__ = (
        "_receive",
        "_send",
        "_tell",
        "_whole",
        "ended",
        "failed",
        "left",
        "received",
        "route",
        "scope",
        "seconds",
        "sent",
        "started",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, tell: Callable[["RequestRecord"], None]) -> None:
        self.scope = scope
        self.ended = False
        self.route = route_template.UNMATCHED
        """Template of the route that answered, once there is an end."""
        self.status = 0
        """Of the answer; 0 until it begins."""
        self.started = perf_counter()
        self.seconds = 0.0
        """Duration, once there is an end."""
        self.received = 0
        """Bytes of the request's body that were read."""
        self.sent = 0
        """Bytes of the answer's body."""
        self.failed = False
        """Whether the answer broke off."""
        self.left = False
        """Whether the client left before the answer began."""
        self._whole = False
        self._tell = tell
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        elif not self.status:
            self.left = True
        return message

    # Not async, which would cost every request two coroutines more.
    def send(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            status = message["status"]
            # A failure of ours stays one, also when it took so long that the client gave up.
            if not self.left and status < 500 and perf_counter() - self.started > DISCONNECT_CHECK_AFTER_SECONDS:
                return self._send_late(message)
            self.status = CLIENT_CLOSED_REQUEST if self.left else status
        else:
            if not self.left:
                self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.end(failed=False)
        return self._send(message)

    async def _send_late(self, message: Message) -> None:
        await self._look_for_client()
        self.status = CLIENT_CLOSED_REQUEST if self.left else message["status"]
        await self._send(message)

    def end(self, failed: bool) -> None:
        """Note the end, the first time that this is called, and tell of it."""
        if self.ended:
            return
        self.ended = True
        self.seconds = perf_counter() - self.started
        self.failed = failed
        self.route = route_template.template(self.scope)
        if not self.status:
            self.status = CLIENT_CLOSED_REQUEST if self.left else 500
        self._tell(self)

    async def _look_for_client(self) -> None:
        """ASGI does not report a disconnect while the route is running, so poll for it."""
        names = {name for name, _ in self.scope["headers"]}
        if not self._whole and not names.isdisjoint({b"content-length", b"transfer-encoding"}):
            return  # asking would take a part of the body, which the route may still want
        request = Request(self.scope, self.receive)
        # Of a request without a body that no one has read, the first message is its empty body.
        self.left = await request.is_disconnected() or await request.is_disconnected()
