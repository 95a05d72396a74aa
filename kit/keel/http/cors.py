"""Cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol): refused, unless origins are configured."""

from collections.abc import Callable
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.errors.problems import Problem, ProblemResponse
from keel.settings import Settings
from keel.settings.origins import parse_headers, parse_origins

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
# Besides headers such as Accept, which are always allowed.
REQUEST_HEADERS = (
    *("Authorization", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-ID"),
    *("traceparent", "tracestate", "baggage"),  # https://www.w3.org/TR/trace-context/, https://www.w3.org/TR/baggage/
)
RESPONSE_HEADERS = ("ETag", "Link", "Location", "Retry-After", "X-Request-ID")
MAX_AGE_SECONDS = 600


class CorsMiddleware(CORSMiddleware):
    """Starlette's CORSMiddleware, but its preflights count for the rate limit, and it refuses with problem details.

    `limit` counts a request, or returns the problem if it is over the limit.
    """

    def __init__(self, app: ASGIApp, *, limit: Callable[[Scope], Problem | None], **options: Any) -> None:
        super().__init__(app, **options)
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _is_preflight(scope) and (problem := self.limit(scope)):
            await ProblemResponse(scope, problem)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        headers = {"Vary": response.headers["Vary"]}
        return ProblemResponse({}, Problem(400, f"{bytes(response.body).decode()}.", headers))


def middleware(settings: Settings, limit: Callable[[Scope], Problem | None]) -> list[Middleware]:
    """The middleware for APP_CORS_ORIGINS; an empty list if that is not set."""
    origins = parse_origins(settings.cors_origins, any_allowed=True)  # the settings have checked them
    if not origins:
        return []
    return [
        Middleware(
            CorsMiddleware,  # type: ignore[arg-type]  # `app` might be among **options
            limit=limit,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=[*REQUEST_HEADERS, *parse_headers(settings.cors_headers)],
            expose_headers=RESPONSE_HEADERS,
            max_age=MAX_AGE_SECONDS,
        )
    ]


class Origins:
    """The origins whose pages may open WebSockets, which no browser asks about beforehand: ours, and APP_CORS_ORIGINS.

    See https://datatracker.ietf.org/doc/html/rfc6455#section-10.2.
    """

    def __init__(self, settings: Settings) -> None:
        self.allowed = {settings.public_url, *parse_origins(settings.cors_origins, any_allowed=True)}

    def check(self, scope: Scope) -> Problem | None:
        """The problem of a handshake: 403 if it comes from a page of another origin. What is no browser sends none."""
        values = {name: value for name, value in scope["headers"] if name in (b"origin", b"host")}
        if b"origin" not in values or "*" in self.allowed:
            return None
        origin = values[b"origin"].decode("latin-1").lower()
        # The page's own scheme: a proxy may have ended its TLS. A page that came without TLS may not use a wss:// one.
        schemes = ("https", "http") if scope["scheme"] == "ws" else ("https",)
        host = values.get(b"host", b"").decode("latin-1").lower()
        if origin in self.allowed or origin in [f"{scheme}://{host}" for scheme in schemes]:
            return None
        return Problem(403, "Pages of this origin may not open WebSockets here.")


def _is_preflight(scope: Scope) -> bool:
    """Whether it is a preflight, which Starlette's middleware answers itself."""
    names = {name for name, _ in scope["headers"]}
    return scope["method"] == "OPTIONS" and {b"origin", b"access-control-request-method"} <= names
