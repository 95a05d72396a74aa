"""Checks that a JSON body is strict JSON (RFC 7493) before the route reads it.

FastAPI's parser accepts NaN, and of a member that is named twice it takes the last.
"""

import json
from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel import strict_json
from keel.errors.problems import Problem

WITHOUT_BODY = ("GET", "HEAD")
STREAMED = "keel.body_is_streamed"
"""Key in the scope of a request whose route takes the body as it arrives, whatever is in it."""


def is_json(content_type: str) -> bool:
    """Whether a Content-Type is JSON, such as application/json or application/merge-patch+json."""
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def not_json() -> Problem:
    """The 415 for a body that is not JSON."""
    detail = "Send the body as JSON, with the header Content-Type: application/json."
    return Problem(415, detail, {"Accept": "application/json"})


class JsonBodyMiddleware:
    """Checks a JSON body while the route reads it: one that is not strict JSON is answered 400.

    It buffers the whole body, so it must be inside BodyLimitMiddleware. Only a route that sets STREAMED, as
    keel.http.uploads does, gets JSON unbuffered.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    # Not async: that would cost every request one more coroutine.
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http" and scope["method"] not in WITHOUT_BODY:
            for name, value in scope["headers"]:
                if name == b"content-type" and is_json(value.decode("latin-1")):
                    return self.app(scope, _checked(scope, receive), send)
        return self.app(scope, receive, send)


def _checked(scope: Scope, receive: Receive) -> Receive:
    body = bytearray()
    whole = False

    async def checked() -> Message:
        nonlocal whole
        while not whole and STREAMED not in scope:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body.extend(message.get("body", b""))
            whole = not message.get("more_body", False)
            if whole:
                check(bytes(body))
                return {"type": "http.request", "body": bytes(body), "more_body": False}
        return await receive()

    return checked


def check(body: bytes) -> None:
    """Check that a body is strict JSON, or empty.

    Raises:
        Problem: 400, saying where the mistake is.
    """
    if not body:  # the route decides whether it needs a body
        return
    try:
        strict_json.loads(body)
    except json.JSONDecodeError as error:
        raise Problem(400, f"The body is not JSON: see character {error.pos}.") from error
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not JSON: it is not UTF-8, see byte {error.start}.") from error
    except ValueError as error:
        detail = (
            "The body is not I-JSON (RFC 7493): it names a member twice, contains NaN, Infinity or a number that is "
            "too large, or is nested too deeply."
        )
        raise Problem(400, detail) from error
