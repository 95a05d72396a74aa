from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.types import Scope

__all__ = ["REPLACED_MIDDLEWARE", "TELEMETRY", "effective_route", "iter_route_contexts"]

# By name, as FastAPI keeps some to itself: Starlette's two answers to errors (keel.errors.problems), the limit
# on bodies (keel.http.body_limit), and the telemetry of exceptions, of which keel.errors.problems leaves none to see.
REPLACED_MIDDLEWARE = {
    "ServerErrorMiddleware",
    "ExceptionMiddleware",
    "ExceptionTelemetryMiddleware",
    "AppBodyLimitMiddleware",
}
TELEMETRY = "fastapi.telemetry"
"""Is in the scope of a request that FastAPI makes a span of."""


def effective_route(scope: Scope) -> Any:
    """The route that handled `scope`, with its whole path; None for one that is not FastAPI's.

    FastAPI includes routers lazily since 0.137: scope["route"] then knows only the path within its own router, and the
    prefix is in the effective route beside it.
    """
    fastapi = scope.get("fastapi")
    included = fastapi.get("effective_route_context") if fastapi else None
    return scope.get("route") if included is None else included.starlette_route or included
