"""Streamed answers: responses that go on for as long as there is something to say.

A response is a stream if its content type is text/event-stream, or if it is a `StreamedResponse`. Once it has begun,
the time limit of requests is lifted, the metrics have counted it by the time to its first byte, and it is no longer
one of the requests that are being answered. Every other response is measured, and limited, to its last byte.

A stream is ended from here

* when the client takes nothing for APP_REQUEST_TIMEOUT_SECONDS;
* when the route produces nothing for that long, unless it is an event stream, which may have nothing to say;
* in the drain, if it is an event stream that answers a GET: the client comes back by itself, to another pod.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import anyio
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from keel.observability import request_id
from keel.observability.request_record import EVENT_STREAM, STREAM, RequestRecord

log = structlog.get_logger("keel.http.streams")

TRANSPORT = "keel.transport"
"""Key in the scope where keel.http.protocol puts the connection, so that it can be cut."""
GENERATORS = "keel.generators"
"""Key in the state of a request for the generators of its route."""
# When clients of an event stream that ends in the drain come back: not all in one moment.
RETRY_MILLISECONDS = (1000, 5000)
# How an event ends (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
EVENT_ENDS = (b"\n\n", b"\r\r", b"\r\n\r\n")
NOTICE_SECONDS = 5  # for a route to notice that its stream has ended, before its next piece raises
# What FastAPI's own streams raise when the client leaves while the route has a piece ready.
BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)
LOOKS = 10  # how often progress is looked at within the time that may pass without any
REASONS = ("finished", "left", "drained", "slow", "stalled")


class StreamedResponse(StreamingResponse):
    """A StreamingResponse that is a stream by the meaning of this module, whatever its content type."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[STREAM] = True
        await super().__call__(scope, receive, send)


def closed_at_the_end(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """An endpoint that is an asynchronous generator, which is closed with its request.

    FastAPI cancels a generator that waits for something, but leaves one that has a piece ready to the collector of
    garbage: its `finally` would run much later.
    """

    @functools.wraps(endpoint)
    def generate(*args: Any, **arguments: Any) -> Any:
        generator = endpoint(*args, **arguments)
        state: Any = request_id.current.get()
        if "request_id" in state:  # it is that of a request
            state[GENERATORS] = [*state.get(GENERATORS, ()), generator]
        return generator

    return generate


async def close_generators(state: Mapping[str, Any]) -> None:
    """Close the generators of a request that has ended, by its state."""
    for generator in state.get(GENERATORS, ()):
        await generator.aclose()


def comes_of_the_end(error: Exception) -> bool:
    """Whether an error says only that the stream has ended, and nothing of the route."""
    if isinstance(error, ExceptionGroup):
        return all(map(comes_of_the_end, error.exceptions))
    return isinstance(error, BROKEN)


class Streams:
    """The streams that are open, their limit, and their end in the drain.

    `seconds` is how long one may go without progress; `most` is how many there may be at the same time.
    """

    def __init__(self, seconds: float, most: float, registry: CollectorRegistry) -> None:
        self.seconds = seconds
        self.most = most
        self.open: set[Stream] = set()
        self._spread: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        gauge = Gauge("streams_open", "Streamed answers that are open now.", registry=registry)
        gauge.set_function(lambda: len(self.open))
        ended = Counter("streams_ended", "Streamed answers that have ended, by reason.", ["reason"], registry=registry)
        self.ended = {reason: ended.labels(reason) for reason in REASONS}

    @property
    def full(self) -> bool:
        """Whether there may be no more streams."""
        return len(self.open) >= self.most

    def begin(self, record: RequestRecord, message: Message, send: Send) -> "Stream":
        """Open the stream of a response that begins with `message`, and that `send` sends."""
        stream = Stream(self, record, dict(message["headers"]), send)
        self.open.add(stream)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            self._look_later()
        if record.scope["method"] == "HEAD":
            loop.call_soon(self._finish, stream)
        elif self._spread is not None:
            self._finish_later(stream)
        return stream

    def drain(self, seconds: float) -> None:
        """End the event streams, spread over `seconds`: those that are open, and those that still begin."""
        self._spread = seconds
        for stream in self.open:
            self._finish_later(stream)

    def _finish_later(self, stream: "Stream") -> None:
        if stream.resumable and self._spread is not None:
            when = random.uniform(0, self._spread)  # noqa: S311
            asyncio.get_running_loop().call_later(when, self._finish, stream)

    def _finish(self, stream: "Stream") -> None:
        task = asyncio.create_task(stream.finish())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _look_later(self) -> None:
        # Not in the context of the request that began the first stream: log lines would have its ids.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.seconds / LOOKS, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        if self.open:
            self._look_later()
        now = asyncio.get_running_loop().time()
        for stream in list(self.open):
            stream.look(now)


class Stream:
    """One stream."""

    def __init__(self, streams: Streams, record: RequestRecord, headers: Mapping[bytes, bytes], send: Send) -> None:
        events = headers.get(b"content-type", b"").startswith(EVENT_STREAM)
        self.resumable = events and record.scope["method"] in ("GET", "HEAD")
        """Whether a client comes back by itself: EventSource sends only GET."""
        self.reason = ""
        """Why it was ended from here, as in the metric."""
        self._streams = streams
        self._record = record
        self._send = send
        self._may_pause = events
        self._plain = b"content-encoding" not in headers
        self._whole = True  # whether no event is half sent
        self._sending = False
        self._moved = asyncio.get_running_loop().time()

    async def send(self, message: Message) -> None:
        """Send a piece of the body; `sent` and the end are recorded.

        Raises:
            OSError: it was ended from here a while ago, and the route has not noticed.
        """
        if self.reason:
            await asyncio.sleep(NOTICE_SECONDS)
            raise OSError("the stream has ended")
        body = message.get("body", b"")
        self._record.sent += len(body)
        if body:
            self._whole = body.endswith(EVENT_ENDS)
        loop = asyncio.get_running_loop()
        self._moved, self._sending = loop.time(), True
        try:
            await self._send(message)
        finally:
            self._moved, self._sending = loop.time(), False
        if not message.get("more_body", False):
            self._record.end(failed=False)

    async def finish(self) -> None:
        """End the stream as if the route had no more to say, and tell the client when to come back."""
        if self.reason or self._record.ended:
            return
        if self._sending:  # the client has not taken what was sent before
            self._cut("drained")
            return
        self.reason = "drained"
        body = b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS) if self._whole and self._plain else b""  # noqa: S311
        self._record.sent += len(body)
        with contextlib.suppress(OSError):
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._record.end(failed=False)

    def look(self, now: float) -> None:
        """End the stream if it makes no progress."""
        if self.reason or now - self._moved < self._streams.seconds:
            return
        request_id.current.set(self._record.scope["state"])  # for the log line
        if self._sending:
            log.info("stream ended: the client takes nothing", seconds=self._streams.seconds)
            self._cut("slow")
        elif not self._may_pause:
            log.error("stream ended: the route produces nothing", seconds=self._streams.seconds)
            self._cut("stalled")

    @property
    def failed(self) -> bool:
        """Whether the route is to blame for the end."""
        return self.reason == "stalled"

    def close(self) -> None:
        """Count its end. The record calls this once."""
        self._streams.open.discard(self)
        self._streams.ended[self.reason or ("left" if self._record.left else "finished")].inc()

    def _cut(self, reason: str) -> None:
        """Close the connection at once. The route is told that the client has gone."""
        self.reason = reason
        transport: Any = self._record.scope.get(TRANSPORT)
        if transport is not None:
            transport.abort()
