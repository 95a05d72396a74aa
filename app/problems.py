"""Errors as problem details (RFC 9457, application/problem+json), whatever raised them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "application/problem+json"
# RFC 9110's names, which Python has since 3.13.
RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}

log = structlog.get_logger("app.problems")


class FieldError(BaseModel):
    detail: str
    pointer: str | None = Field(default=None, description="JSON pointer (RFC 6901) into the body, as a fragment.")
    parameter: str | None = Field(default=None, description="Name of the path, query or header parameter.")


class ProblemDetails(BaseModel):
    """RFC 9457. The type is about:blank throughout: the status says what kind of problem it is."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[FieldError] | None = None


class Problem(HTTPException):
    """Raise this anywhere while answering a request; `detail` is a sentence for the client."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
    ) -> None:
        super().__init__(status_code=status, detail=detail, headers=headers)
        self.errors = errors


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE

    def __init__(self, scope: Scope, problem: Problem) -> None:
        details = ProblemDetails(
            title=title(problem.status_code),
            status=problem.status_code,
            detail=problem.detail,
            request_id=scope.get("state", {}).get("request_id"),
            errors=problem.errors,
        )
        super().__init__(
            details.model_dump(exclude_none=True), status_code=problem.status_code, headers=problem.headers
        )


def title(status: int) -> str:
    return RENAMED.get(status) or HTTPStatus(status).phrase


def unexpected() -> Problem:
    return Problem(500, "Something went wrong on our side. Quote the request id if you report it.")


class ErrorMiddleware:
    """Turns an exception nobody handled into a logged 500, inside the other middleware.

    Starlette does so too, but outermost, where the answer would miss the request id, the
    security headers, the access log and the metrics.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting_start)
        except Exception:
            if started:  # too late for another answer: let the server cut the connection
                raise
            log.exception("request failed")
            await ProblemResponse(scope, unexpected())(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with problem details, and say so in its OpenAPI schema."""
    # Starlette types every handler as one of any exception.
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid_request)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected_error)
    generate = app.openapi
    app.openapi = lambda: _document(generate())  # type: ignore[method-assign]


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route for the problems it may answer with."""
    return {status: {"model": ProblemDetails, "description": title(status)} for status in statuses}


async def _http_error(request: Request, error: HTTPException) -> ProblemResponse:
    if isinstance(error, Problem):
        return ProblemResponse(request.scope, error)
    details = {
        404: "There is nothing here.",
        405: "This method is not possible here. See the Allow header.",
    }
    detail = details.get(error.status_code, error.detail)
    return ProblemResponse(request.scope, Problem(error.status_code, detail, error.headers))


async def _unexpected_error(request: Request, _error: Exception) -> ProblemResponse:
    return ProblemResponse(request.scope, unexpected())


async def _invalid_request(request: Request, error: RequestValidationError) -> ProblemResponse:
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        position = problems[0]["loc"][-1]
        return ProblemResponse(request.scope, Problem(400, f"The body is not JSON: see character {position}."))
    if any(problem["loc"] == ("body",) for problem in problems) and not _sent_json(request):
        detail = "Send the body as JSON, with the header Content-Type: application/json."
        return ProblemResponse(request.scope, Problem(415, detail, {"Accept": "application/json"}))
    errors = [_field_error(problem) for problem in problems]
    return ProblemResponse(request.scope, Problem(422, "The request is not valid: see errors.", errors=errors))


def _sent_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _field_error(problem: Mapping[str, Any]) -> FieldError:
    where, *path = problem["loc"]
    detail = problem["msg"].removeprefix("Value error, ").replace("Input should", "It should")
    if where != "body":
        return FieldError(detail=detail, parameter=str(path[0]) if path else None)
    tokens = [str(token).replace("~", "~0").replace("/", "~1") for token in path]
    return FieldError(detail=detail, pointer="".join(["#", *(f"/{token}" for token in tokens)]))


def _document(schema: dict[str, Any]) -> dict[str, Any]:
    """Give every error in an OpenAPI schema our media type and shape; FastAPI adds 422s of its own."""
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    response["content"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(unused, None)
    return schema
