"""A limit on the size of request bodies, answered with problem details.

FastAPI's max_body_size does the same, but answers in plain text from outside our middleware.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import Problem, ProblemResponse


class BodyLimitMiddleware:
    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared) > self.max_bytes:
            await ProblemResponse(scope, self._too_large())(scope, receive, send)
            return
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._too_large()
            return message

        await self.app(scope, counting, send)

    def _too_large(self) -> Problem:
        # The rest of the body is not worth reading.
        return Problem(413, f"The body exceeds {self.max_bytes} bytes.", {"Connection": "close"})
