"""The fastest stack that we could put together from existing libraries: pure ASGI middleware only."""

import time

import orjson
import structlog
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import FixedWindowRateLimiter
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from secure import Secure
from secure.middleware import SecureASGIMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.apps.answers import add_routes, serve

# As structlog's chapter on performance advises.
structlog.configure(
    cache_logger_on_first_use=True,
    wrapper_class=structlog.make_filtering_bound_logger(20),
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ],
    logger_factory=structlog.BytesLoggerFactory(),
)
log = structlog.get_logger()


class AccessLog:
    """No library writes a structured access log as pure ASGI; this is the least that does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter_ns()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                client=scope["client"][0],
                duration=time.perf_counter_ns() - started,
                request_id=correlation_id.get(),
            )


class RateLimit:
    """slowapi's pure ASGI middleware is slower than the library below it, limits, used as here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.limit = parse("1000000000/minute")
        self.limiter: FixedWindowRateLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.limiter is None:  # its storage needs a running event loop
            self.limiter = FixedWindowRateLimiter(MemoryStorage())
        if await self.limiter.hit(self.limit, scope["client"][0]):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("Too many requests", 429)(scope, receive, send)


application = FastAPI()
add_routes(application)
application.add_middleware(RateLimit)
application.add_middleware(SecureASGIMiddleware, secure=Secure.with_default_headers())  # type: ignore[arg-type]
application.add_middleware(AccessLog)
application.add_middleware(CorrelationIdMiddleware)
# One histogram, where its default is two and three more metrics.
Instrumentator().add(metrics.latency()).instrument(application).expose(application)
serve(application)
