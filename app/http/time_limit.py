"""Limits on the time a request may take, and on how many there may be, so that none holds up all others."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors.problems import Problem, ProblemResponse

RETRY_SECONDS = 5


class TimeLimitMiddleware:
    """Cancels what takes longer than `seconds` and raises a Problem: 408 while waiting for the body, else 503.

    An answer that has begun is broken off: whoever is outside must not send another then.

    While there are `at_once` requests, more are answered 503 at once: they would only wait, all of
    them for longer and longer, and fill the memory meanwhile.
    """

    def __init__(self, app: ASGIApp, seconds: float, at_once: int) -> None:
        self.app = app
        self.seconds = seconds
        self.at_once = at_once
        # In the order in which they began, which is that of their deadlines, so that one timer does
        # for all: one for each, as asyncio.timeout has, would cost more than all the rest here.
        self._running: dict[_Limit, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if len(self._running) >= self.at_once:
            problem = Problem(503, "There is too much to do. Try again soon.", {"Retry-After": str(RETRY_SECONDS)})
            await ProblemResponse(scope, problem)(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        limit = _Limit(receive, loop.time() + self.seconds)
        self._running[limit] = None
        if self._timer is None:
            self._timer = loop.call_at(limit.deadline, self._expire, loop)
        try:
            await self.app(scope, limit.receive, send)
        except (asyncio.CancelledError, Exception) as error:
            # If someone else has cancelled it too, as the server does at its end, they get what they want.
            if limit.expired and limit.task.uncancel() == 0:
                raise self._problem(limit.waits_for_body) from error
            raise
        finally:
            del self._running[limit]

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._timer = None
        for limit in self._running:
            if limit.deadline > now:
                self._timer = loop.call_at(limit.deadline, self._expire, loop)
                break
            if not limit.expired:
                limit.expired = True
                limit.task.cancel()

    def _problem(self, body_late: bool) -> Problem:
        if body_late:
            detail = f"The body did not arrive within {self.seconds:g} seconds."
            return Problem(408, detail, {"Connection": "close"})
        detail = f"This took longer than {self.seconds:g} seconds. Try again soon."
        return Problem(503, detail, {"Retry-After": str(RETRY_SECONDS)})


class _Limit:
    """Of one request."""

    __slots__ = ("_receive", "_whole", "deadline", "expired", "task", "waits_for_body")

    def __init__(self, receive: Receive, deadline: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: this runs in one
        self.task = task
        self.deadline = deadline
        self.expired = False
        self.waits_for_body = False
        self._receive = receive
        self._whole = False

    async def receive(self) -> Message:
        self.waits_for_body = not self._whole  # else for the client to go away
        message = await self._receive()
        self.waits_for_body = False
        self._whole = not message.get("more_body", False)
        return message
