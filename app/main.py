"""The one place that puts the service together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app import __version__, dev_token, identity, problems
from app.access_log import AccessLogMiddleware
from app.auth import TokenVerifier
from app.body_limit import BodyLimitMiddleware
from app.database import Database
from app.keys import KeyFile, KeyFileError, parse_jwks
from app.links import router as links
from app.links.metrics import LinkMetrics
from app.links.store import LinkStore
from app.management import create_management
from app.metrics import MetricsMiddleware, create_registry
from app.probes import DrainMiddleware, Health
from app.request_id import RequestIdMiddleware
from app.security_headers import SecurityHeadersMiddleware
from app.settings import ConfigurationError, Settings


@dataclass(frozen=True)
class Service:
    """Two ASGI applications, one for each port, and the health they share."""

    public: FastAPI
    management: Starlette
    health: Health


def create_service(settings: Settings) -> Service:
    """Put everything together; nothing is opened before the public application's lifespan.

    Raises:
        ConfigurationError: APP_JWKS_FILE holds no usable keys.
    """
    registry = create_registry()
    database = Database(settings)
    health = Health({"database": database.check}, settings.check_interval_seconds, settings.check_timeout_seconds)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with health.watching():
                yield
        finally:
            await database.close()

    app = FastAPI(
        title="Shipshape",
        summary="A link shortener.",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Outermost first. What comes after the first four is logged, counted and answered as a problem.
        middleware=[
            Middleware(RequestIdMiddleware),
            Middleware(AccessLogMiddleware),
            Middleware(MetricsMiddleware, registry=registry),
            Middleware(SecurityHeadersMiddleware, https=settings.public_url.startswith("https://")),
            Middleware(DrainMiddleware, health=health),
            Middleware(problems.ErrorMiddleware),
            Middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes),
        ],
    )
    app.state.token_verifier = TokenVerifier(
        trusted_keys(settings), settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_seconds
    )
    app.state.links = links.Links(
        LinkStore(database, settings.cache_seconds), LinkMetrics(registry), settings.public_url
    )
    app.include_router(identity.router)
    app.include_router(links.api, prefix="/api/v1")
    app.include_router(links.redirects)  # last: it matches every path of one segment
    problems.install(app)
    return Service(app, create_management(health, registry), health)


def trusted_keys(settings: Settings) -> KeyFile:
    """APP_JWKS_FILE; in environment local without it, the development key, which may come later."""
    if settings.jwks_file is None:
        return KeyFile(settings.dev_key_file, dev_token.parse_dev_key)
    keys = KeyFile(settings.jwks_file, parse_jwks)
    try:
        keys.load()
    except KeyFileError as error:
        raise ConfigurationError(f"APP_JWKS_FILE: {error}") from error
    return keys
