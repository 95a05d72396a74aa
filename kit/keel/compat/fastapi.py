from typing import Any

from fastapi.routing import iter_route_contexts
from starlette.types import Scope

__all__ = ["REPLACED_MIDDLEWARE", "TELEMETRY", "effective_route", "iter_route_contexts"]

# Layers that FastAPI adds and the kit replaces, by name, as some are private: Starlette's two error handlers
# (keel.errors.problems), the limit on bodies (keel.http.body_limit), and the telemetry of exceptions, which never sees
# one because keel.errors.problems handles them all.
REPLACED_MIDDLEWARE = {
    "ServerErrorMiddleware",
    "ExceptionMiddleware",
    "ExceptionTelemetryMiddleware",
    "AppBodyLimitMiddleware",
}
TELEMETRY = "fastapi.telemetry"
"""Key in the scope of a request for which FastAPI makes a span."""


def effective_route(scope: Scope) -> Any:
    """The route that handled `scope`, with its whole path; None if it is not one of FastAPI's.

    Since 0.137 FastAPI includes routers lazily. scope["route"] then has only the path within its own router; the
    effective route has the prefix too.
    """
    fastapi = scope.get("fastapi")
    included = fastapi.get("effective_route_context") if fastapi else None
    return scope.get("route") if included is None else included.starlette_route or included
