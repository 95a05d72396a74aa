"""Limits the size of request bodies, and responds with problem details.

FastAPI's max_body_size does the same, but responds in plain text, from outside the kit's middleware.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse


class BodyLimitMiddleware:
    """Refuses bodies larger than `max_bytes` with 413: at once by Content-Length, or when they exceed it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        for name, value in scope["headers"]:
            if name == b"content-length":
                if int(value) > self.max_bytes:
                    return ProblemResponse(scope, self._too_large())(scope, receive, send)
                break
        return self.app(scope, self._counting(receive), send)

    def _counting(self, receive: Receive) -> Receive:
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._too_large()
            return message

        return counting

    def _too_large(self) -> Problem:
        # Close the connection instead of reading the rest of the body.
        return Problem(413, f"The body exceeds {self.max_bytes} bytes.", {"Connection": "close"})
