"""A request id for every request: the caller's if it is well formed, otherwise a new one."""

import random
import re
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.observability import tracing

HEADER = b"x-request-id"
SANE = re.compile(rb"[A-Za-z0-9._~-]{8,128}")


# scope["state"] of the current request, for the log.
current: ContextVar[Mapping[str, Any]] = ContextVar("current_request", default={})  # noqa: B039


def of(headers: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """The response's header with the id of a request that has these headers."""
    offered = headers.get(HEADER)
    if offered is not None and SANE.fullmatch(offered):
        return HEADER, offered
    # The id is not secret, so it need not come from the kernel's random numbers, which are slower.
    return HEADER, b"%032x" % random.getrandbits(128)


class RequestIdMiddleware:
    """Puts the id into scope["state"], into every log line of the request, and into the response.

    If the request has a trace, its ids are in scope["state"] and the log lines too
    (keel.observability.tracing.TraceIds).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # Not async, nor is with_id: that would cost every request one more coroutine each.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)
        headers = dict(scope["headers"])
        header = of(headers)
        state = scope.setdefault("state", {})
        state["request_id"] = header[1].decode()
        if trace := tracing.ids(scope, headers.get(b"traceparent")):
            state["trace"] = trace
        # Set it for every request: a pipelined one starts in the context of the one before.
        current.set(state)

        def with_id(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        return self.app(scope, receive, with_id)
