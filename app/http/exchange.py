"""A request and its answer as seen from outside, told to the metrics and to the access log."""

from collections.abc import Awaitable
from time import perf_counter

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http import routes
from app.observability import access_log
from app.observability.metrics import RequestMetrics

# nginx's status for a client that left before there was an answer. No fault of ours, so no 5xx.
CLIENT_CLOSED_REQUEST = 499
# Only after this many seconds is it worth asking whether anyone still waits for the answer.
PATIENCE = 0.1


class Exchange:
    __slots__ = (
        "_receive",
        "_send",
        "_whole",
        "failed",
        "left",
        "received",
        "route",
        "scope",
        "seconds",
        "sent",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.route = routes.UNMATCHED
        """Template of the route that answered, once there is an end."""
        self.status = 0
        """Of the answer; 0 until it begins."""
        self.seconds = perf_counter()
        """Time taken; until the end, when it began."""
        self.received = 0
        """Bytes of the request's body that were read."""
        self.sent = 0
        """Bytes of the answer's body."""
        self.failed = False
        """Whether the answer broke off."""
        self.left = False
        """Whether the client left before the answer began."""
        self._whole = False
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
            if not self.left and status < 500 and perf_counter() - self.seconds > PATIENCE:
                return self._send_late(message)
            self.status = CLIENT_CLOSED_REQUEST if self.left else status
        elif not self.left:
            self.sent += len(message.get("body", b""))
        return self._send(message)

    async def _send_late(self, message: Message) -> None:
        await self._look_for_client()
        self.status = CLIENT_CLOSED_REQUEST if self.left else message["status"]
        await self._send(message)

    def end(self, failed: bool) -> None:
        self.seconds = perf_counter() - self.seconds
        self.failed = failed
        self.route = routes.template(self.scope)
        if not self.status:
            self.status = CLIENT_CLOSED_REQUEST if self.left else 500

    async def _look_for_client(self) -> None:
        """Nothing tells of a client that leaves while the route is busy: one must ask."""
        names = {name for name, _ in self.scope["headers"]}
        if not self._whole and not names.isdisjoint({b"content-length", b"transfer-encoding"}):
            return  # asking would take a part of the body, which the route may still want
        request = Request(self.scope, self.receive)
        # Of a request without a body that no one has read, the first message is its empty body.
        self.left = await request.is_disconnected() or await request.is_disconnected()


class ExchangeMiddleware:
    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        exchange = Exchange(scope, receive, send)
        failed = True
        self.metrics.in_flight += 1
        try:
            await self.app(scope, exchange.receive, exchange.send)
            failed = False
        finally:
            self.metrics.in_flight -= 1
            exchange.end(failed)
            self.metrics.observe(exchange)
            access_log.write(exchange)
