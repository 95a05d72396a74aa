"""The management port: probes, metrics, log level and faults on demand. Never expose it to users."""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keel import strict_json
from keel.errors.problems import ErrorMiddleware, FieldError, Problem, ProblemResponse
from keel.http.body_limit import BodyLimitMiddleware
from keel.http.faults import Fault, Faults
from keel.http.handlers import field_error
from keel.http.time_limit import AwaitedBodies, TimeLimitMiddleware
from keel.observability import logs
from keel.observability.probes import OK, Health

MAX_BODY_BYTES = 1024
SECONDS = 10.0  # time limit of a request; probes give up earlier
MAX_CONCURRENT = 100  # requests at the same time

log = structlog.get_logger("keel.management")


def create_management(
    health: Health, registry: CollectorRegistry, faults: Faults | None = None, more: Sequence[Route] = ()
) -> Starlette:
    """The application of the management port; it has /faults only if `faults` is given."""

    async def startupz(_request: Request) -> Response:
        return report(health.startup(), ready=health.started)

    async def livez(_request: Request) -> Response:
        return report({"event loop": OK}, ready=True)  # the response is the proof

    async def readyz(_request: Request) -> Response:
        return report(health.readiness(), ready=health.ready)

    async def metrics(request: Request) -> Response:
        return exposition(registry, request)

    routes = [
        Route("/startupz", startupz),
        Route("/livez", livez),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/log-level", _log_level, methods=["GET", "PUT"]),
        *more,
    ]
    if faults is not None:
        routes.append(Route("/faults", _faults_endpoint(faults), methods=["GET", "PUT", "DELETE"]))
    return application(routes)


def application(routes: Sequence[Route]) -> Starlette:
    """An application of these routes, with the limits and the errors of a management port."""
    app = Starlette(
        routes=routes,
        # Starlette's types allow only handlers of any exception.
        exception_handlers={HTTPException: _problem},  # type: ignore[dict-item]
        middleware=[
            Middleware(ErrorMiddleware),
            Middleware(
                TimeLimitMiddleware,
                seconds=SECONDS,
                max_concurrent=MAX_CONCURRENT,
                awaited=AwaitedBodies(MAX_CONCURRENT),
            ),
            Middleware(BodyLimitMiddleware, max_bytes=MAX_BODY_BYTES),
        ],
    )
    app.router.redirect_slashes = False  # it would redirect to whatever host a client names
    return app


def exposition(registry: CollectorRegistry, request: Request) -> Response:
    """The metrics of a registry, in the format that the request asks for."""
    try:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
    except TypeError:  # a version that is not a number (findings/prometheus-client-version-that-is-no-number.sh)
        encode, content_type = choose_encoder("")
    return Response(encode(registry), headers={"Content-Type": content_type})


def report(checks: dict[str, str], *, ready: bool) -> Response:
    """The result of a probe."""
    if not ready:
        return JSONResponse({"status": "unavailable", "checks": checks}, 503)
    return JSONResponse({"status": OK if set(checks.values()) == {OK} else "degraded", "checks": checks})


async def _log_level(request: Request) -> Response:
    """GET returns the log level of this process; PUT changes it until the process ends."""
    if request.method == "PUT":
        level = _requested_level(await request.body())
        before = logs.level()
        if logs.LEVELS[level] < logs.LEVELS[before]:
            logs.set_level(level)
        log.warning("log level changed", before=before, after=level)  # logged while the more verbose level is on
        logs.set_level(level)
    return JSONResponse({"level": logs.level()})


def _requested_level(body: bytes) -> str:
    try:
        level = strict_json.loads(body)["level"]
    except (ValueError, TypeError, KeyError):
        level = None
    if not isinstance(level, str) or level not in logs.LEVELS:
        raise Problem(422, f'Send JSON such as {{"level": "debug"}}; the levels are {", ".join(logs.LEVELS)}.')
    return level


def _faults_endpoint(faults: Faults) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        """GET returns the fault that is injected, PUT sets it, and DELETE ends it."""
        if request.method == "PUT":
            faults.begin(_requested_fault(await request.body(), faults.templates))
        elif request.method == "DELETE":
            faults.end("it was deleted")
        return JSONResponse(
            {
                "active": faults.fault is not None,
                **(faults.fault.model_dump(exclude={"for_seconds"}) if faults.fault else {}),
                "seconds_left": round(faults.seconds_left, 1),
            }
        )

    return endpoint


def _requested_fault(body: bytes, templates: list[str]) -> Fault:
    try:
        return Fault.model_validate(strict_json.loads(body), context={"routes": templates})
    except ValidationError as error:
        errors = [field_error({**problem, "loc": ("body", *problem["loc"])}) for problem in error.errors()]
    except ValueError:
        errors = [FieldError(detail="This is not JSON.", pointer="#")]
    example = '{"error_ratio": 0.2, "delay_seconds": 0.5, "for_seconds": 600}'
    raise Problem(422, f"The faults are not valid: see errors. Send JSON such as {example}.", errors=errors)


async def _problem(request: Request, error: HTTPException) -> Response:
    if not isinstance(error, Problem):
        details = {
            404: f"There is nothing here. The paths of this port are {', '.join(_paths(request))}.",
            405: "This method is not allowed here. See the Allow header.",
        }
        error = Problem(error.status_code, details.get(error.status_code, error.detail), error.headers)
    return ProblemResponse(request.scope, error)


def _paths(request: Request) -> list[str]:
    return [route.path for route in request.app.routes]
