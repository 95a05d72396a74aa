"""HTTP/1.1 on the wire: uvicorn's protocol, with limits on how much a client sends and how slowly.

uvicorn limits neither the size of a request's head (nor of a chunked body's extensions and trailers) nor the time it
takes, and it responds in plain text to what it cannot parse. A refusal here comes before there is a request to log or
count. So it has a log line and a metric of its own, and a body of problem details.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterable
from typing import Any

import httptools
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from keel.compat.uvicorn import STATUS_LINE, HttpToolsProtocol
from keel.errors.problems import MEDIA_TYPE, title
from keel.http import security_headers
from keel.http.streams import TRANSPORT
from keel.settings import Settings

log = structlog.get_logger("keel.http.protocol")

MAX_TARGET_BYTES = 8192  # RFC 9112, section 3, asks for 8000 at least
# How long a client has to read a refusal before the connection is closed. To close at once, with unread bytes of the
# request, would reset the connection, and the client could lose the response.
LINGER_SECONDS = 2
# How much of a body is read and discarded after the response to its request, for as long as a head may take. Most
# clients read the response only after they have sent the whole body.
LINGER_BYTES = 64 * 1024 * 1024
# How much is parsed at once. Pipelined requests beyond one such piece wait as bytes while another request is answered:
# a parsed request takes a hundred times as much memory.
PIECE_BYTES = 4096

# By reason, as in the metric: the status, and the detail for the client.
REFUSALS = {
    "malformed": (400, "The request is not valid HTTP/1.1."),
    "timeout": (408, "The request line and headers took too long to arrive."),
    "target_too_long": (414, f"The request target exceeds {MAX_TARGET_BYTES} bytes."),
    "head_too_large": (431, "The request line and headers together are too large."),
    "coding": (501, "No transfer coding but chunked is supported."),
    "version": (505, "Use HTTP/1.1 or HTTP/1.0."),
}
VERSIONS = ("1.1", "1.0")
TARGET = re.compile(rb"([^/?]*)(.*)", re.DOTALL)  # the host, and the rest


def announces_body(header: tuple[bytes, bytes]) -> bool:
    """Whether a request with this header has a body that is not empty."""
    name, value = header
    return name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ") != b"")


def has_other_coding(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a chunked body has another transfer coding too, which gets a 501 (RFC 9112, section 6.1).

    The parser itself refuses a body whose last coding is not chunked, because its end is unknown.
    """
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"transfer-encoding":
            codings += [coding.strip().lower() for coding in value.split(b",")]
    return codings[-1:] == [b"chunked"] and codings.count(b"chunked") < len(codings)


class ConnectionLimits:
    """What all connections share: the limits, and the count of refusals.

    While `draining`, every response has "Connection: close", so that the client's next request opens a connection to
    another pod.
    """

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self.draining = False
        self.max_connections = settings.max_connections
        self.connections: Collection[object] = ()
        """The open connections of users. The public server sets this."""
        self.max_head_bytes = settings.max_head_bytes
        self.head_timeout_seconds = settings.head_timeout_seconds
        self.headers = [
            *security_headers.fields(https=settings.public_url.startswith("https://")),
            (b"content-type", MEDIA_TYPE.encode()),
            (b"connection", b"close"),
        ]
        refused = Counter(
            "http_connections_refused_total",
            "Connections refused before there was a request to answer, by reason.",
            ["reason"],
            registry=registry,
        )
        self.refused = {reason: refused.labels(reason) for reason in REFUSALS}
        opened = Gauge("http_connections", "Open connections of clients.", registry=registry)
        opened.set_function(lambda: len(self.connections))
        most = Gauge(
            "http_connections_limit", "Most open connections of clients; more wait to be accepted.", registry=registry
        )
        most.set_function(lambda: self.max_connections)

    def room(self) -> int:
        """How many more connections there may be."""
        return self.max_connections - len(self.connections)


class RefusedError(Exception):
    """Raised in the parser's callbacks to refuse a request; the argument is a key of REFUSALS."""


class EarlyAnswer:
    """The transport of a response that may end, and close the connection, before the request's body has arrived."""

    def __init__(self, protocol: "HttpProtocol") -> None:
        self.protocol = protocol
        self.cycle = protocol.cycle
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing

    def close(self) -> None:
        """Close the connection; linger first if the body has not arrived."""
        if self.cycle.more_body and not self.is_closing():
            self.protocol.linger()
        else:
            self.protocol.transport.close()


class HttpProtocol(HttpToolsProtocol):
    """One connection: uvicorn's protocol with ConnectionLimits."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limits = limits
        self.refused = False
        """Whether everything that still arrives is discarded."""
        self._unwanted_bytes = 0  # received since then
        self._held = b""  # received, but not parsed until the requests before are answered
        self._delivered = False  # whether the bytes being parsed completed a head or had some of a body
        self._undelivered_bytes = 0  # received since the last such bytes
        self._waiting_since: float | None = None
        self._plain_head = b""
        """The head of a request that offers another protocol, without the offer; still to be parsed."""
        self._becomes_websocket = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client is not None:
            # An IPv4 address on a socket for both families (RFC 4291, section 2.5.5.2): make it IPv4 for proxies,
            # limits, logs.
            self.client = (self.client[0].removeprefix("::ffff:"), self.client[1])

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self.refused:
            self._unwanted_bytes += len(data)
            if self._unwanted_bytes > LINGER_BYTES:
                self.transport.abort()
            return
        if self._held or self.pipeline:
            self._hold(self._held + data)
            return
        self._take(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._held and not self.transport.is_closing():
            self.flow.pause_reading()
            if not self.pipeline:
                self.loop.call_soon(self._take_held)

    def _take_held(self) -> None:
        held, self._held = self._held, b""
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if not self.refused and not self.transport.is_closing():
            self._take(held)

    def _hold(self, data: bytes) -> None:
        self._held = data
        self.flow.pause_reading()

    def _take(self, data: bytes) -> None:
        """Parse the bytes that have arrived, until a request has to wait for the response to another."""
        room = self.limits.max_head_bytes - self._undelivered_bytes
        if len(data) <= min(room, PIECE_BYTES):
            self._parse(data)
            return
        # In pieces, so that the parser never buffers more than the limit.
        rest = memoryview(data)
        while rest and not self.refused and not self._becomes_websocket:
            if not room:
                self._refuse("head_too_large")
                return
            if self.pipeline:
                self._hold(bytes(rest))
                return
            size = min(room, PIECE_BYTES)
            self._parse(rest[:size])
            rest = rest[size:]
            room = self.limits.max_head_bytes - self._undelivered_bytes

    def _parse(self, data: bytes | memoryview) -> None:
        self._delivered = False
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            raised = error.__context__
            reason = raised.args[0] if isinstance(raised, RefusedError) else "malformed"
            self._refuse("version" if "HTTP version" in str(error) else reason, str(error))
        # A task makes the response, so it has not begun yet.
        cycle: Any = self.cycle
        if cycle is not None and cycle.more_body and cycle.transport is self.transport:
            cycle.transport = EarlyAnswer(self)
        # A head that begins behind other data in one piece is counted from the next piece on.
        self._undelivered_bytes = 0 if self._delivered else self._undelivered_bytes + len(data)

    def _feed(self, data: bytes | memoryview) -> None:
        """Parse `data`, and ignore offers of another protocol, as RFC 9110, section 7.8, allows.

        The exception is a WebSocket, where the server has a protocol for it.

        The parser cannot ignore one: it stops after the head and takes the body for the other protocol. So the head is
        parsed again without the Upgrade header, followed by the rest. This needs a new parser, as the old one accepts
        nothing after a head with `Connection: close`.
        """
        rest = memoryview(data)
        while rest:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:
                if self._becomes_websocket:
                    self.handle_websocket_upgrade()  # another protocol has the connection from now on
                    return
                rest = rest[offer.args[0] :]
            head, self._plain_head = self._plain_head, b""
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)

    def _head_without_offer(self) -> bytes:
        """The head without its Upgrade header. It must not be longer than the original, because of the limits."""
        fields = b"".join(b"%b:%b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        version = self.parser.get_http_version().encode()
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, fields)

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > MAX_TARGET_BYTES:
            raise RefusedError("target_too_long")

    def on_headers_complete(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            # This is not a proxy, and the parser would take what follows for the data of a tunnel.
            raise RefusedError("malformed")
        if self.parser.should_upgrade():
            is_idle = self.cycle is None or self.cycle.response_complete
            if is_idle and self._should_upgrade():
                self._becomes_websocket = True
                self.scope["method"] = self.parser.get_method().decode("ascii")
            else:
                self._plain_head = self._head_without_offer()
            return
        self._delivered = True
        self._waiting_since = None
        if self.parser.get_http_version() not in VERSIONS:
            raise RefusedError("version")
        if has_other_coding(self.headers):
            raise RefusedError("coding")
        if self.url[:1] != b"/":
            self._take_host_from_target()
        super().on_headers_complete()
        if self.limits.draining:
            self.cycle.keep_alive = False
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]  # it is none of ASGI's own keys
        self.headers = []  # trailers go here: they must not become headers (RFC 9110, section 6.5.1)

    def on_body(self, body: bytes) -> None:
        self._delivered = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._plain_head and not self._becomes_websocket:
            super().on_message_complete()

    def _take_host_from_target(self) -> None:
        """Let a target such as http://host/path override the Host header (RFC 9112, section 3.2.2).

        A missing path means / (RFC 9110, section 4.2.3). The parser of URLs does not add it.
        """
        scheme, absolute, rest = self.url.partition(b"://")
        if absolute:
            host, path = TARGET.fullmatch(rest).groups()  # type: ignore[union-attr]  # it matches anything
            self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]
            if not path.startswith(b"/"):
                self.url = b"%b://%b/%b" % (scheme, host, path)

    def linger(self) -> None:
        """Send no more, and close when the client does, or when `enforce_head_timeout` gives it up.

        Closing at once would reset the connection, as bytes of the request have not been read.
        """
        self.refused = True
        self.transport.write_eof()
        if self.limits.draining:  # nobody calls that any more once the server has stopped accepting
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def close_after_response(self) -> None:
        """Close the connection after the response to the current request, and say so in it, unless it has begun."""
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    def enforce_head_timeout(self, now: float) -> None:
        """End the connection if the client has not sent what is due in time. Call this every second.

        Bytes are due while no request is being answered and uvicorn's keep-alive timer is off: at the start of the
        connection, from the first byte of a head to its last, and after a response that did not wait for the body.
        """
        busy = self.cycle is not None and not self.cycle.response_complete
        # Whether everything was sent, but the client has not read it.
        ending = self.transport.is_closing() or (self.refused and not busy)
        if not ending and (busy or self.timeout_keep_alive_task is not None):
            self._waiting_since = None
            return
        if self._waiting_since is None:
            self._waiting_since = now
        begun = self._undelivered_bytes > 0
        limit = self.limits.head_timeout_seconds if ending or begun else self.timeout_keep_alive
        if now - self._waiting_since < limit:
            return
        if ending:
            self.transport.abort()
        elif begun and not (self.cycle and self.cycle.more_body):
            self._refuse("timeout")
        else:  # there is no request to answer
            self.transport.close()

    def _refuse(self, reason: str, cause: str | None = None) -> None:
        self.refused = True
        request_id = secrets.token_hex(16)
        self.limits.refused[reason].inc()
        client = self.client[0] if self.client else None
        log.info("connection refused", reason=reason, cause=cause, client=client, request_id=request_id)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body or self.pipeline:
                # Earlier requests are being answered: close after them.
                cycle.keep_alive = False
                return
            # The body of the current request is not valid: its handler must not wait for the rest.
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(self._answer(reason, request_id))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _answer(self, reason: str, request_id: str) -> bytes:
        status, detail = REFUSALS[reason]
        problem = {"type": "about:blank", "title": title(status), "status": status, "detail": detail}
        body = json.dumps(problem | {"request_id": request_id}).encode()
        fields = [
            *self.server_state.default_headers,
            *self.limits.headers,
            (b"x-request-id", request_id.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        return b"".join([STATUS_LINE[status], head, b"\r\n", body])


def enforce_head_timeouts(connections: Iterable[Any], now: float) -> None:
    """Call `enforce_head_timeout` of every connection; `now` is by the event loop's clock."""
    for connection in list(connections):
        connection.enforce_head_timeout(now)
