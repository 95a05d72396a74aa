"""Problem details (RFC 9457, application/problem+json): the body of every error response."""

import errno
import json
from collections.abc import Awaitable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.compat.starlette import EXCEPTION_HANDLERS, wrap_app_handling_exceptions

MEDIA_TYPE = "application/problem+json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # on the disk, in a quota, in one file
# Names by RFC 9110, which Python has since 3.13.
RENAMED = {413: "Content Too Large", 414: "URI Too Long", 422: "Unprocessable Content"}

log = structlog.get_logger("keel.errors.problems")


class FieldError(BaseModel):
    detail: str
    pointer: str | None = Field(default=None, description="JSON pointer (RFC 6901) into the body, as a fragment.")
    parameter: str | None = Field(default=None, description="Name of the path, query or header parameter.")


class ProblemDetails(BaseModel):
    """Problem details (RFC 9457). The type is always about:blank: the status says what kind of problem it is."""

    type: str = "about:blank"
    title: str = Field(description="What the status means.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="A sentence about this occurrence, for people.")
    request_id: str | None = Field(default=None, description="The value of X-Request-ID; quote it in a report.")
    errors: list[FieldError] | None = Field(default=None, description="What is wrong, field by field.")


class Problem(HTTPException):
    """Raise this anywhere during a request; `detail` is a sentence for the client."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=headers)
        self.errors = errors


class ProblemResponse(Response):
    """The response to a request that has failed with `problem`."""

    media_type = MEDIA_TYPE

    def __init__(self, scope: Scope, problem: Problem) -> None:
        content: dict[str, Any] = {
            "type": "about:blank",
            "title": title(problem.status_code),
            "status": problem.status_code,
            "detail": problem.detail,
        }
        if request_id := scope.get("state", {}).get("request_id"):
            content["request_id"] = request_id
        if problem.errors:
            content["errors"] = [error.model_dump(exclude_none=True) for error in problem.errors]
        # As ASCII: pointers repeat a client's field names, which need not be valid Unicode.
        super().__init__(json.dumps(content), status_code=problem.status_code, headers=problem.headers)


def title(status: int) -> str:
    """The name of a status."""
    try:
        return RENAMED.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route that may respond with these statuses.

    keel.http.openapi adds the schema of the body. If it were given here, FastAPI would build a validator for each
    status of each route, at each start.
    """
    return {status: {"description": title(status)} for status in statuses}


def invalid(*errors: FieldError) -> Problem:
    """The 422 for a request that is not valid, with the reasons."""
    return Problem(422, "The request is not valid: see errors.", errors=list(errors))


def no_room(error: BaseException | None) -> Problem | None:
    """The 507 for a body that could not be stored because the disk is full; None if `error` says something else."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return Problem(507, "There is no room to store the body. Try again later.", {"Connection": "close"})
    return None


def unexpected() -> Problem:
    """The 500 for an error that nobody expected."""
    return Problem(500, "Something went wrong on our side. Quote the request id if you report it.")


def log_fault(problem: Problem) -> None:
    """Log a problem of 5xx. Those of 4xx are only in the access log."""
    if problem.status_code >= 500:
        log.error("request failed", status=problem.status_code, detail=problem.detail, cause=repr(problem.__cause__))


class ErrorMiddleware:
    """Turns exceptions into responses: by the application's exception handlers, or else into a 500 that is logged.

    A handler of Exception itself is not used. This replaces Starlette's ServerErrorMiddleware and ExceptionMiddleware.
    One of those is outside all other middleware: its responses would have no request id, security headers, access log
    or metrics. Together they cost each request seven coroutines. Routes find the exception handlers in the scope,
    where Starlette's middleware would put them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.others = app
        """What has the scopes that are no requests, such as WebSockets."""
        self._handlers: tuple[dict[Any, Any], dict[int, Any]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.others(scope, receive, send)
            return
        if self._handlers is None:
            self._handlers = _handlers_of(scope["app"]) if "app" in scope else ({}, {})
        scope[EXCEPTION_HANDLERS] = self._handlers
        started = False

        # Not async: that would cost every request two more coroutines.
        def noting_start(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        try:
            await self.app(scope, receive, noting_start)
        except Exception as error:
            if started:  # too late for another response: the server closes the connection
                raise
            await _answer(error, scope, receive, send)


def _handlers_of(app: Starlette) -> tuple[dict[Any, Any], dict[int, Any]]:
    """The exception handlers by class and by status. Without that of Exception: routes raise unexpected errors."""
    by_class = {key: value for key, value in app.exception_handlers.items() if isinstance(key, type)}
    by_status = {key: value for key, value in app.exception_handlers.items() if isinstance(key, int)}
    return {key: value for key, value in by_class.items() if key is not Exception}, by_status


async def _answer(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    try:
        await wrap_app_handling_exceptions(fail, Request(scope))(scope, receive, send)
    except Problem as problem:
        log_fault(problem)
        await ProblemResponse(scope, problem)(scope, receive, send)
    except Exception:
        log.exception("request failed")
        await ProblemResponse(scope, unexpected())(scope, receive, send)
