"""Turns the exceptions of FastAPI and Starlette into problem details."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Scope

from keel.errors.problems import FieldError, Problem, ProblemResponse, log_fault, no_room
from keel.http.json_body import is_json, not_json

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def install(app: FastAPI) -> None:
    """Add the exception handlers to `app`."""
    # Starlette's types allow only handlers of any exception.
    app.add_exception_handler(HTTPException, _http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid_request)  # type: ignore[arg-type]


async def _http_error(request: Request, error: HTTPException) -> ProblemResponse:
    if isinstance(error, Problem):
        problem = error
    elif error.status_code == 404:
        problem = Problem(404, "There is nothing here.", error.headers)
    elif error.status_code == 405:
        detail = "This method is not allowed here. See the Allow header."
        problem = Problem(405, detail, {"Allow": ", ".join(_allowed_methods(request.scope))})
    elif full := no_room(error.__cause__):  # FastAPI takes all that fails while it reads a form for the client's fault
        problem = full
        problem.__cause__ = error.__cause__
    else:
        problem = Problem(error.status_code, str(error.detail), error.headers)
        problem.__cause__ = error.__cause__
    log_fault(problem)
    return ProblemResponse(request.scope, problem)


def _allowed_methods(scope: Scope) -> list[str]:
    """All methods of a path. The router itself names only those of the first route that matches the path."""
    routes = scope["app"].router.routes
    return [
        method
        for method in METHODS
        if any(route.matches(dict(scope, method=method))[0] is Match.FULL for route in routes)
    ]


async def _invalid_request(request: Request, error: RequestValidationError) -> ProblemResponse:
    problems = error.errors()
    detail = "The request is not valid: see errors."
    if any(problem["loc"] == ("body",) for problem in problems):
        if error.body is None:
            detail = "The request needs a JSON body."
        elif not is_json(request.headers.get("content-type", "")):
            return ProblemResponse(request.scope, not_json())
    errors = [field_error(problem) for problem in problems]
    return ProblemResponse(request.scope, Problem(422, detail, errors=errors))


def field_error(problem: Mapping[str, Any]) -> FieldError:
    """Convert an error of Pydantic. Its location begins with the part of the request: body, query, path or header."""
    where, *path = problem["loc"]
    detail = problem["msg"].removeprefix("Value error, ").replace("Input should", "It should")
    if where != "body":
        return FieldError(detail=detail, parameter=str(path[0]) if path else None)
    tokens = [str(token).replace("~", "~0").replace("/", "~1") for token in path]
    return FieldError(detail=detail, pointer="".join(["#", *(f"/{token}" for token in tokens)]))
