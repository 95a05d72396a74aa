"""The one place that puts the service together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware

from app import __version__, identity
from app.application import Application
from app.data import valkey
from app.data.database import Database
from app.errors import handlers as error_handlers
from app.errors import problems
from app.http import cors, docs, openapi, routes
from app.http.body_limit import BodyLimitMiddleware
from app.http.exchange import ExchangeMiddleware
from app.http.faults import Faults
from app.http.json_body import JsonBodyMiddleware
from app.http.protocol import ConnectionLimits
from app.http.request_id import RequestIdMiddleware
from app.http.security_headers import SecurityHeadersMiddleware
from app.http.time_limit import AwaitedBodies, TimeLimitMiddleware
from app.http.trusted_hosts import TrustedHostMiddleware
from app.links.domain import Domain
from app.links.openapi import TAGS
from app.management import create_management
from app.observability import tracing
from app.observability.event_loop import EventLoopLag
from app.observability.metrics import RequestMetrics, create_registry
from app.observability.probes import Health
from app.security import dev_token
from app.security.algorithms import parse_algorithms
from app.security.auth import AuthenticationMiddleware, Authenticator
from app.security.jwks import DiscoveredKeys, KeyUrl
from app.security.keys import KeyFile, KeyFileError, KeySource, parse_jwks
from app.security.rate_limit import RateLimiter, RateLimitMiddleware
from app.security.scopes import Scopes, parse_claims, parse_meanings
from app.security.shared_counts import SharedCounts
from app.security.tokens import TokenVerifier
from app.settings import ConfigurationError, Settings


@dataclass(frozen=True)
class Service:
    """Two ASGI applications, one for each port, and what they share."""

    public: FastAPI
    management: Starlette
    health: Health
    limits: ConnectionLimits
    bodies: AwaitedBodies
    registry: CollectorRegistry


def create_service(settings: Settings) -> Service:
    """Put everything together; nothing is opened before the public application's lifespan.

    Raises:
        ConfigurationError: APP_JWKS_FILE holds no usable keys.
    """
    registry = create_registry()
    requests = RequestMetrics(registry)
    lag = EventLoopLag(registry)
    database = Database(settings, registry)
    shared = valkey.from_settings(settings, registry)
    keys = trusted_keys(settings, registry)
    verifier = token_verifier(settings, keys)
    authenticator = Authenticator(verifier, registry)
    limiter = RateLimiter(settings, registry)
    counts = SharedCounts(limiter.windows, shared, settings.rate_limit_sync_seconds, registry)
    links = Domain(settings, database, shared, registry)
    bodies = AwaitedBodies(settings.max_concurrent_requests)
    faults = Faults(registry) if settings.faults_enabled else None
    health = Health(
        {"database": database.check},
        settings.check_interval_seconds,
        settings.check_timeout_seconds,
        optional={"valkey": shared.check} if shared else None,
        registry=registry,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with tracing.exporting(settings, registry), lag.watching():
            try:
                async with health.watching(), keys.refreshing(), counts.exchanging(), links.working():
                    yield
            finally:
                await database.close()
                if shared:
                    await shared.close()

    app = Application(
        title="Shipshape",
        summary="A link shortener.",
        version=__version__,
        lifespan=lifespan,
        telemetry=tracing.telemetry(settings),
        openapi_url=docs.OPENAPI_URL if docs.enabled(settings) else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(faults.dependency)] if faults else None,
        # Outermost first. What comes after the first three is logged, counted and answered as a problem.
        middleware=[
            Middleware(RequestIdMiddleware),
            Middleware(ExchangeMiddleware, metrics=requests),
            Middleware(SecurityHeadersMiddleware, https=settings.public_url.startswith("https://")),
            *cors.middleware(settings, limiter.check),
            Middleware(problems.ErrorMiddleware),
            Middleware(
                TimeLimitMiddleware,
                seconds=settings.request_timeout_seconds,
                at_once=settings.max_concurrent_requests,
                awaited=bodies,
            ),
            Middleware(AuthenticationMiddleware, authenticator=authenticator, exhausted=limiter.exhausted),
            Middleware(RateLimitMiddleware, limiter=limiter),
            Middleware(TrustedHostMiddleware, settings=settings),
            Middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes),
            Middleware(JsonBodyMiddleware),
        ],
    )
    app.state.authenticator = authenticator
    if docs.enabled(settings):
        docs.install(app)
    identity.install(app)
    links.install(app)  # last: it asks that all other routes are there
    if faults:
        faults.install(app)
    for method, route in routes.declared(app):
        requests.expect(method, route)
    error_handlers.install(app)
    openapi.install(app, settings.public_url, [identity.TAG, *TAGS])
    management = create_management(health, registry, faults)
    return Service(app, management, health, ConnectionLimits(settings, registry), bodies, registry)


def token_verifier(settings: Settings, keys: KeySource) -> TokenVerifier:
    """Accepts tokens as the settings describe those of the identity provider."""
    return TokenVerifier(
        keys,
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_leeway_seconds,
        audience_claim=settings.jwt_audience_claim,
        algorithms=parse_algorithms(settings.jwt_algorithms),
        scopes=Scopes(parse_claims(settings.jwt_scope_claim), parse_meanings(settings.jwt_scope_map)),
    )


def trusted_keys(settings: Settings, registry: CollectorRegistry) -> KeySource:
    """APP_JWKS_URL, APP_JWKS_FILE or what APP_JWKS_DISCOVERY finds.

    In environment local without any of them, the development key, which may come later.
    """
    pace: dict[str, Any] = {
        "refresh": settings.jwks_refresh_seconds,
        "cooldown": settings.jwks_cooldown_seconds,
        "timeout": settings.jwks_timeout_seconds,
        "registry": registry,
    }
    if settings.jwks_discovery:
        return DiscoveredKeys(settings.jwt_issuer, **pace)
    if settings.jwks_url is not None:
        return KeyUrl(settings.jwks_url, **pace)
    if settings.jwks_file is None:
        return KeyFile(settings.dev_key_file, dev_token.parse_dev_key)
    keys = KeyFile(settings.jwks_file, parse_jwks)
    try:
        keys.load()
    except KeyFileError as error:
        raise ConfigurationError(f"APP_JWKS_FILE: {error}") from error
    return keys
