"""The management port: probes, metrics and the log level, never exposed to users."""

import json

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.errors.problems import Problem, ProblemResponse
from app.http.body_limit import BodyLimitMiddleware
from app.observability import logs
from app.observability.probes import OK, Health

MAX_BODY_BYTES = 1024
PATHS = ("/startupz", "/livez", "/readyz", "/metrics", "/log-level")

log = structlog.get_logger("app.management")


def create_management(health: Health, registry: CollectorRegistry) -> Starlette:
    async def startupz(_request: Request) -> Response:
        return _report(health.startup())

    async def livez(_request: Request) -> Response:
        return _report({"event loop": OK})  # that it answers is the proof

    async def readyz(_request: Request) -> Response:
        return _report(health.readiness(), health.optional)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return Starlette(
        routes=[
            Route("/startupz", startupz),
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/log-level", _log_level, methods=["GET", "PUT"]),
        ],
        # Starlette types every handler as one of any exception.
        exception_handlers={HTTPException: _problem},  # type: ignore[dict-item]
        middleware=[Middleware(BodyLimitMiddleware, max_bytes=MAX_BODY_BYTES)],
    )


def _report(checks: dict[str, str], optional: frozenset[str] = frozenset()) -> Response:
    failing = {name for name, result in checks.items() if result != OK}
    if failing - optional:
        return JSONResponse({"status": "unavailable", "checks": checks}, 503)
    return JSONResponse({"status": "degraded" if failing else OK, "checks": checks})


async def _log_level(request: Request) -> Response:
    """GET tells, and PUT changes, the least level logged by this process until it ends."""
    if request.method == "PUT":
        level = _requested_level(await request.body())
        before = logs.level()
        if logs.LEVELS[level] < logs.LEVELS[before]:
            logs.set_level(level)
        log.warning("log level changed", before=before, after=level)  # while the more talkative level is on
        logs.set_level(level)
    return JSONResponse({"level": logs.level()})


def _requested_level(body: bytes) -> str:
    try:
        level = json.loads(body)["level"]
    except (ValueError, RecursionError, TypeError, KeyError):
        level = None
    if not isinstance(level, str) or level not in logs.LEVELS:
        raise Problem(422, f'Send JSON such as {{"level": "debug"}}; the levels are {", ".join(logs.LEVELS)}.')
    return level


async def _problem(request: Request, error: HTTPException) -> Response:
    if not isinstance(error, Problem):
        details = {
            404: f"There is nothing here. The paths of this port are {', '.join(PATHS)}.",
            405: "This method is not possible here. See the Allow header.",
        }
        error = Problem(error.status_code, details.get(error.status_code, error.detail), error.headers)
    return ProblemResponse(request.scope, error)
