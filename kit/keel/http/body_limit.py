"""Limits the size of request bodies, and responds with problem details.

FastAPI's max_body_size does the same, but responds in plain text, from outside the kit's middleware.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse
from keel.http import limits


class BodyLimitMiddleware:
    """Refuses bodies larger than `max_bytes` with 413: at once by Content-Length, or when they exceed it.

    A route may have a limit of its own (keel.http.limits).
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        own = scope.get(limits.SCOPE_KEY)
        max_bytes = (own and own.declared.max_body_bytes) or self.max_bytes
        for name, value in scope["headers"]:
            if name == b"content-length":
                if int(value) > max_bytes:
                    return ProblemResponse(scope, _too_large(max_bytes))(scope, receive, send)
                break
        return self.app(scope, _counting(receive, max_bytes), send)


def _counting(receive: Receive, max_bytes: int) -> Receive:
    received = 0

    async def counting() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > max_bytes:
            raise _too_large(max_bytes)
        return message

    return counting


def _too_large(max_bytes: int) -> Problem:
    # Close the connection instead of reading the rest of the body.
    return Problem(413, f"The body exceeds {max_bytes} bytes.", {"Connection": "close"})
