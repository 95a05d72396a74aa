"""Limits the time of a request, and the number of requests at the same time, so that none holds up all others.

Requests whose bodies have not arrived are counted separately, with a small limit for each client address. Heads cost a
client nothing, so they must not keep out requests that are complete.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse
from keel.http import limits
from keel.http.limits import LimitedRoutes, RouteLimits
from keel.http.streams import Streams
from keel.observability.request_record import is_stream
from keel.security.client_network import client_network

RETRY_SECONDS = 5
SHARE_OF_ADDRESS = 20  # one address may have 1/20 of the requests that wait for their bodies
DRAIN_SECONDS = 2  # wait for a body while the server drains; of a route with its own limits, for its next bytes


class AwaitedBodies:
    """The requests whose bodies have not arrived, with their limits: in all, and for each client address."""

    def __init__(self, max_concurrent: int) -> None:
        self.max_concurrent = max_concurrent
        self.max_per_client = max(1, max_concurrent // SHARE_OF_ADDRESS)
        self._waiting: set[_Limit] = set()
        self._of_client = Counter[str]()
        self._draining = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, limit: "_Limit") -> None:
        """Add a request that waits for its body, or end it with 429 or 503 if too many do."""
        limit.waits_since = asyncio.get_running_loop().time()
        if limit in self._waiting:
            return
        headers = {"Retry-After": str(RETRY_SECONDS), "Connection": "close"}
        if self._of_client[limit.client] >= self.max_per_client:
            limit.end(Problem(429, "Too many of your requests are waiting for their bodies.", headers))
            return
        if len(self._waiting) >= self.max_concurrent:
            limit.end(Problem(503, "Too many requests are waiting for their bodies. Try again soon.", headers))
            return
        self._waiting.add(limit)
        self._of_client[limit.client] += 1
        if self._draining:
            self._limit_wait(limit)

    def remove(self, limit: "_Limit") -> None:
        """Remove a request whose body has arrived, or that has ended. It need not have been added."""
        if limit in self._waiting:
            self._waiting.remove(limit)
            self._of_client[limit.client] -= 1
            if not self._of_client[limit.client]:
                del self._of_client[limit.client]

    def drain(self) -> None:
        """From now on, wait for each body for at most DRAIN_SECONDS.

        A route with limits of its own expects long bodies: one that goes on arriving has the time of the drain.
        """
        self._draining = True
        for limit in self._waiting:
            self._limit_wait(limit)

    def _limit_wait(self, limit: "_Limit") -> None:
        asyncio.get_running_loop().call_later(DRAIN_SECONDS, self._give_up, limit)

    def _give_up(self, limit: "_Limit") -> None:
        if limit in self._waiting and limit.own and not limit.stalls_for(DRAIN_SECONDS):
            self._limit_wait(limit)
        elif limit in self._waiting:
            headers = {"Retry-After": str(RETRY_SECONDS), "Connection": "close"}
            limit.end(Problem(503, "The server is shutting down before the body arrived. Try again soon.", headers))


class TimeLimitMiddleware:
    """Cancels requests that run longer than `seconds`: 408 if the body is still arriving, otherwise 503.

    It raises a Problem. If the response has already started, the connection is closed instead.

    While `max_concurrent` requests are being answered, new ones get 503 at once, so that queues and memory stay
    bounded. Requests whose bodies have not arrived do not count: `awaited` limits those. Nor do responses that have
    become streams, whose time is not limited either: `streams` says how many there may be.

    A route may have limits of its own (keel.http.limits). While its body arrives, it must not pause for longer than
    `seconds`. What a route does after its response, as background tasks do, has no limit and does not count.
    """

    def __init__(
        self,
        app: ASGIApp,
        seconds: float,
        max_concurrent: int,
        awaited: AwaitedBodies,
        routes: LimitedRoutes | None = None,
        streams: Streams | None = None,
    ) -> None:
        self.app = app
        self.streams = streams
        self.seconds = seconds
        self.max_concurrent = max_concurrent
        self.awaited = awaited
        self.routes = LimitedRoutes() if routes is None else routes
        # Ordered by start, and so by deadline: one timer is enough for all. A timer for each request, as
        # asyncio.timeout has, would cost more than all the rest here.
        self._running: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._is_full():
            await ProblemResponse(scope, _too_much())(scope, receive, send)
            return
        own = self.routes.find(scope) if self.routes else None
        if own:
            if own.is_full:
                await ProblemResponse(scope, _too_much("This operation"))(scope, receive, send)
                return
            scope[limits.SCOPE_KEY] = own
        loop = asyncio.get_running_loop()
        seconds = (own and own.declared.seconds) or self.seconds
        limit = _Limit(self, scope, receive, send, loop.time() + seconds, own)
        self._running[limit] = None
        if own:
            own.running += 1
            limit.timer = loop.call_later(min(seconds, self.seconds), self._check, limit, loop)
        elif self._timer is None:
            self._timer = loop.call_at(limit.deadline, self._expire, loop)
        try:
            await self.app(scope, limit.receive, limit.send)
        except (asyncio.CancelledError, Exception) as error:
            # If somebody else has cancelled the task too, as the server does when it stops, let that cancellation pass.
            if limit.problem and limit.task.uncancel() == 0:
                raise limit.problem from error
            raise
        finally:
            self.leave(limit)

    def leave(self, limit: "_Limit") -> None:
        """Neither limit nor count a request any longer, as its response is whole, or will not be."""
        self.lift(limit)
        if limit.own:
            limit.own.running -= 1
            limit.own = None

    def lift(self, limit: "_Limit") -> None:
        """No longer limit a request. If its response has become a stream, its route still counts it."""
        if limit in self._running:
            del self._running[limit]
            self.awaited.remove(limit)
            if limit.timer:
                limit.timer.cancel()

    def body_has_come(self, limit: "_Limit") -> None:
        """Count a request whose body has arrived among those that are answered.

        Raises:
            Problem: 503, if `max_concurrent` requests are being answered by now.
        """
        self.awaited.remove(limit)
        if limit in self._running and len(self._running) - len(self.awaited) > self.max_concurrent:
            raise _too_much()

    def _is_full(self) -> bool:
        return len(self._running) - len(self.awaited) >= self.max_concurrent

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for limit in self._running:
            if limit.own:  # has a timer of its own
                continue
            if limit.deadline > now:
                self._timer = loop.call_at(limit.deadline, self._expire, loop)
                break
            limit.end(_too_long(self.seconds, limit.waits_for_body))

    def _check(self, limit: "_Limit", loop: asyncio.AbstractEventLoop) -> None:
        """End a request to a route with its own limits if its time is up, or if its body has stalled."""
        assert limit.own  # noqa: S101 - for the type checker
        if loop.time() >= limit.deadline:
            limit.end(_too_long(limit.own.declared.seconds or self.seconds, limit.waits_for_body))
        elif limit.stalls_for(self.seconds):
            detail = f"No part of the body arrived for {self.seconds:g} seconds."
            limit.end(Problem(408, detail, {"Connection": "close"}))
        else:
            stalled = (limit.waits_since if limit.waits_for_body else loop.time()) + self.seconds
            limit.timer = loop.call_at(min(limit.deadline, stalled), self._check, limit, loop)


def _too_long(seconds: float, body_late: bool) -> Problem:
    if body_late:
        return Problem(408, f"The body did not arrive within {seconds:g} seconds.", {"Connection": "close"})
    detail = f"The request took longer than {seconds:g} seconds. Try again soon."
    return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})


def _too_much(what: str = "The service") -> Problem:
    return Problem(503, f"{what} is at its concurrency limit. Try again soon.", {"Retry-After": str(RETRY_SECONDS)})


class _Limit:
    """The limit of one request: its deadline, and whether it waits for its body."""

    __slots__ = (
        "_limits",
        "_receive",
        "_scope",
        "_send",
        "_streams",
        "_whole",
        "deadline",
        "own",
        "problem",
        "task",
        "timer",
        "waits_for_body",
        "waits_since",
    )

    def __init__(
        self,
        limits: TimeLimitMiddleware,
        scope: Scope,
        receive: Receive,
        send: Send,
        deadline: float,
        own: RouteLimits | None,
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: this runs in one
        self.task = task
        self.deadline = deadline
        self.problem: Problem | None = None
        """The response, if the request was ended."""
        self.waits_for_body = False
        self.waits_since = 0.0
        """When it began to wait for the next part of its body, by the event loop's clock."""
        self.own = own
        self.timer: asyncio.TimerHandle | None = None
        """Of a request to a route with its own limits."""
        self._limits = limits
        self._scope = scope
        self._receive = receive
        self._send = send
        self._streams = False
        self._whole = False

    @property
    def client(self) -> str:
        return client_network(self._scope)

    def end(self, problem: Problem) -> None:
        """End the request with `problem`. Only the first call counts."""
        if self.problem is None:
            self.problem = problem
            self.task.cancel()

    def stalls_for(self, seconds: float) -> bool:
        """Whether the next part of the body has not arrived for so long."""
        return self.waits_for_body and asyncio.get_running_loop().time() - self.waits_since >= seconds

    # Not async: that would cost every request two more coroutines.
    def send(self, message: Message) -> Awaitable[None]:
        """Send a message. With the last one there is nothing more to limit, nor in a response that becomes a stream."""
        if message["type"] == "http.response.start":
            if is_stream(self._scope, message):
                return self._begin_stream(message)
        elif message.get("more_body", False):
            self._streams = True
        elif self._streams:  # the client may be slow to take what was sent before
            return self._send_last(message)
        else:
            self._limits.leave(self)
        return self._send(message)

    async def _send_last(self, message: Message) -> None:
        await self._send(message)
        self._limits.leave(self)

    async def receive(self) -> Message:
        if self._whole:  # the route waits for a disconnect
            return await self._receive()
        self.waits_for_body = True
        # Called only if the message is not there yet.
        waiting = asyncio.get_running_loop().call_soon(self._limits.awaited.add, self)
        try:
            message = await self._receive()
        finally:
            waiting.cancel()
        self.waits_for_body = False
        self._whole = not message.get("more_body", False)
        if self._whole:
            self._limits.body_has_come(self)
        return message

    async def _begin_stream(self, message: Message) -> None:
        if self._limits.streams is not None and self._limits.streams.full:
            detail = "The service is at its limit of streams. Try again soon."
            self.end(Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)}))
            await asyncio.Event().wait()  # until the cancellation arrives
        self._limits.lift(self)
        await self._send(message)
