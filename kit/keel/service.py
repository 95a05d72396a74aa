"""Builds a service: the one place that puts the parts of the kit and the domains together."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from keel.application import Application
from keel.data import valkey
from keel.data.cache_metrics import CacheMetrics
from keel.data.database import Database
from keel.data.feed import FeedMetrics
from keel.domain import Check, Domain, Feature, Parts
from keel.errors import problems
from keel.http import cors, docs, handlers, identity, openapi
from keel.http.body_limit import BodyLimitMiddleware
from keel.http.faults import Faults
from keel.http.json_body import JsonBodyMiddleware
from keel.http.limits import LimitedRoutes
from keel.http.protocol import ConnectionLimits
from keel.http.request_recording import RequestRecordMiddleware
from keel.http.security_headers import SecurityHeadersMiddleware
from keel.http.streams import Streams
from keel.http.time_limit import AwaitedBodies, TimeLimitMiddleware
from keel.http.trusted_hosts import TrustedHostMiddleware, TrustedHosts
from keel.idempotency import IdempotencyKeys
from keel.management import create_management
from keel.observability import route_template, tracing
from keel.observability.event_loop import EventLoopLag
from keel.observability.metrics import RequestMetrics, create_registry
from keel.observability.probes import Health
from keel.observability.request_id import RequestIdMiddleware
from keel.product import Product
from keel.security import dev_token
from keel.security.auth import AuthenticationMiddleware, Authenticator, read_token
from keel.security.jwks import DiscoveredJwks, JwksUrl
from keel.security.keys import JwksFile, JwksFileError, KeySource, parse_jwks
from keel.security.rate_limit import RateLimiter, RateLimitMiddleware
from keel.security.rate_limit_sync import RateLimitSync
from keel.security.scopes import Scopes
from keel.security.tokens import TokenVerifier
from keel.settings import ConfigurationError, OwnSettings, Settings, settings_of, unknown_variables
from keel.settings.algorithms import parse_algorithms
from keel.settings.claims import parse_claims, parse_meanings

if TYPE_CHECKING:
    from keel.tasks.worker import Worker

GIVE_BACK_SECONDS = 2  # to give back the tasks that are not done at the end of the drain


@dataclass(frozen=True)
class Served:
    """Two ASGI applications, one for each port, and what they share."""

    product: Product
    public: ASGIApp
    management: ASGIApp
    health: Health
    limits: ConnectionLimits
    bodies: AwaitedBodies
    streams: Streams
    registry: CollectorRegistry
    has_websockets: bool = False
    """Whether the public application has routes for WebSockets, which take a library to serve."""


@dataclass(frozen=True)
class Apps(Served):
    """Those of a service."""

    public: FastAPI
    management: Starlette


@dataclass(frozen=True)
class Configuration:
    """The settings from the environment: the kit's, and those of each domain by its name."""

    settings: Settings
    own: dict[str, OwnSettings] = field(default_factory=dict)

    def effective(self) -> dict[str, object]:
        """Every variable with the value in force. Passwords are masked."""
        values = self.settings.effective()
        for own in self.own.values():
            values |= own.effective()
        return values


class Service:
    """A service: its product and its domains."""

    def __init__(self, product: Product, domains: Sequence[Domain]) -> None:
        self.product = product
        self.domains = tuple(domains)
        names = [domain.name for domain in self.domains]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"Two domains have the name {min(twice)}: settings are found by it. Rename one.")
        self.settings = settings_of(product)

    @property
    def development_scopes(self) -> str:
        """The default scopes of a development token, separated by spaces."""
        return " ".join(scope for domain in self.domains for scope in domain.development_scopes)

    def examples(self, url: str, token: str) -> list[str]:
        """Arguments of curl that make a first request, one for each domain that has an example."""
        found = (domain.operations.example for domain in self.domains)
        return [example.format(url=url, token=token) for example in found if example]

    @property
    def settings_classes(self) -> list[type[OwnSettings]]:
        """The classes of all settings: the kit's, then those of the domains."""
        return [self.settings, *(domain.settings for domain in self.domains)]

    def load(self) -> Configuration:
        """Read the environment and the secrets directory.

        Raises:
            ConfigurationError: with all mistakes at once, in the kit's settings and the domains'.
        """
        loaded: list[Any] = []
        mistakes: list[str] = []
        for settings in self.settings_classes:
            try:
                loaded.append(settings.load())
            except ConfigurationError as error:
                mistakes += error.problems
        if mistakes:
            raise ConfigurationError(*mistakes)
        own = {domain.name: each for domain, each in zip(self.domains, loaded[1:], strict=True)}
        return Configuration(loaded[0], own)

    def unknown_variables(self, environ: Mapping[str, str]) -> dict[str, str | None]:
        """Variables with the prefix of a setting but an unknown name, each with a similar known name, if any."""
        return unknown_variables(environ, self.settings_classes)

    def build(self, settings: Settings, own: dict[str, OwnSettings] | None = None) -> Apps:
        """Build the applications. Connections are opened only in the lifespan of the public one.

        Args:
            settings: the kit's settings.
            own: the settings of domains by name; a missing one has its defaults.

        Raises:
            ConfigurationError: APP_JWKS_FILE holds no usable keys, or a schedule could never run.
            ValueError: a route has limits that make no sense; the message names it.
        """
        product = self.product
        registry = create_registry(product.version)
        requests = RequestMetrics(registry)
        lag = EventLoopLag(registry)
        database = Database(settings, registry) if product.has_database else None
        shared = valkey.from_settings(settings, registry)
        keys = trusted_keys(settings, registry)
        verifier = token_verifier(settings, keys)
        authenticator = Authenticator(verifier, registry, product.name)
        limiter = RateLimiter(settings, registry)
        rate_limit_sync = RateLimitSync(limiter.windows, shared, settings.rate_limit_sync_seconds, registry)
        parts = Parts(
            settings=settings,
            registry=registry,
            stored=database,
            valkey=shared,
            caches=CacheMetrics(registry),
            feeds=FeedMetrics(registry),
        )
        features = [domain.start(parts, (own or {}).get(domain.name) or domain.settings()) for domain in self.domains]
        worker = _worker(parts, features)
        bodies = AwaitedBodies(settings.max_concurrent_requests)
        limited = LimitedRoutes()
        hosts = TrustedHosts(settings)
        streams = Streams(settings.request_timeout_seconds, settings.max_streams, registry)
        faults = Faults(registry) if settings.faults_enabled else None
        checks, optional = _checks(database, shared, features)
        health = Health(
            checks,
            settings.check_interval_seconds,
            settings.check_timeout_seconds,
            optional=optional,
            registry=registry,
        )

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            async with tracing.exporting(settings, registry), lag.watching(), AsyncExitStack() as stack:
                # Closed last, after the background work has ended.
                for dependency in (shared, database):
                    if dependency:
                        stack.push_async_callback(dependency.close)
                for work in (health.watching(), keys.refreshing(), rate_limit_sync.running()):
                    await stack.enter_async_context(work)
                if database:
                    await stack.enter_async_context(IdempotencyKeys(database, settings.idempotency_hours).purging())
                for feature in features:
                    await stack.enter_async_context(feature.working())
                if worker:  # ends before what its tasks use
                    await stack.enter_async_context(worker.working(lambda: health.draining, _task_seconds(settings)))
                yield

        app = Application(
            title=product.title,
            summary=product.summary,
            version=product.version,
            lifespan=lifespan,
            telemetry=tracing.telemetry(settings),
            openapi_url=docs.OPENAPI_URL if docs.enabled(settings) else None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            dependencies=[Depends(faults.dependency)] if faults else None,
            middleware=_middleware(settings, requests, limiter, authenticator, bodies, limited, streams, hosts),
        )
        app.state.authenticator = authenticator
        if docs.enabled(settings):
            docs.install(app)
        identity.install(app, product)
        for feature in features:
            feature.install(app)
        if faults:
            faults.install(app)
        limited.collect(app)
        has_websockets = route_template.has_websockets(app)
        if has_websockets:
            app.websockets = _websockets(settings, requests, limiter, authenticator, hosts, registry)
        for method, route in route_template.declared(app):
            requests.expect(method, route)
        handlers.install(app)
        sections = [openapi.Section([identity.TAG]), *map(_section, self.domains)]
        openapi.install(app, settings.public_url, sections, limited.declared)
        management = create_management(health, registry, faults)
        return Apps(
            product,
            app,
            management,
            health,
            ConnectionLimits(settings, registry),
            bodies,
            streams,
            registry,
            has_websockets,
        )


def _checks(
    database: Database | None, shared: valkey.Valkey | None, features: Sequence[Feature]
) -> tuple[dict[str, Check], dict[str, Check]]:
    """What must have passed once before a pod is ready, and what it can do without, each by name."""
    checks: dict[str, Check] = {"database": database.check} if database else {}
    optional: dict[str, Check] = {"valkey": shared.check} if shared else {}
    for feature in features:
        checks |= feature.checks
        optional |= feature.optional_checks
    return checks, optional


def _middleware(
    settings: Settings,
    requests: RequestMetrics,
    limiter: RateLimiter,
    authenticator: Authenticator,
    bodies: AwaitedBodies,
    limited: LimitedRoutes,
    streams: Streams,
    hosts: TrustedHosts,
) -> list[Middleware]:
    """The middleware of the public application, outermost first.

    Each layer is a plain ASGI class: docs/decisions/0007-middleware.md says why.

    | layer           | may respond with        | why it is here                                                   |
    |-----------------|-------------------------|------------------------------------------------------------------|
    | Error           | 500, for all below      | `Application` puts it outermost: no failure lacks a response      |
    | RequestId       |                         | every log line and response below has the id                     |
    | RequestRecord   |                         | logs and counts every response, also those of the layers below   |
    | SecurityHeaders |                         | every response has the headers, also an error                    |
    | Cors            | 200, 400, 429 preflight | errors have its headers too, so that pages can read them         |
    | Error           | any problem raised      | inside the layers above, so that errors pass through them        |
    | TimeLimit       | 408, 429, 503           | everything below it takes time, also the check of a token        |
    | Authentication  |                         | only marks the request: routes decide whether they need a token  |
    | RateLimit       | 429                     | needs the token's subject, so it is inside Authentication        |
    | TrustedHost     | 400, 421                | inside RateLimit, so that refused host names count too           |
    | BodyLimit       | 413                     | before a layer that buffers the body                             |
    | JsonBody        | 400, when it is read    | buffers the body, so it is inside BodyLimit                      |

    WebSockets pass through all of them, after layers of their own: `_websockets`.
    """
    return [
        Middleware(RequestIdMiddleware),
        Middleware(RequestRecordMiddleware, metrics=requests, streams=streams),
        Middleware(SecurityHeadersMiddleware, https=settings.public_url.startswith("https://")),
        *cors.middleware(settings, limiter.check),
        Middleware(problems.ErrorMiddleware),
        Middleware(
            TimeLimitMiddleware,
            seconds=settings.request_timeout_seconds,
            max_concurrent=settings.max_concurrent_requests,
            awaited=bodies,
            routes=limited,
            streams=streams,
        ),
        Middleware(AuthenticationMiddleware, authenticator=authenticator, exhausted=limiter.exhausted),
        Middleware(RateLimitMiddleware, limiter=limiter),
        Middleware(TrustedHostMiddleware, hosts=hosts),
        Middleware(BodyLimitMiddleware, max_bytes=settings.max_body_bytes),
        Middleware(JsonBodyMiddleware),
    ]


def _websockets(
    settings: Settings,
    requests: RequestMetrics,
    limiter: RateLimiter,
    authenticator: Authenticator,
    hosts: TrustedHosts,
    registry: CollectorRegistry,
) -> Callable[[ASGIApp], ASGIApp]:
    """The layers of WebSockets around the application's: the checks of requests, in the same order."""
    from keel.http.websocket_access import WebSocketAccess  # noqa: PLC0415  # most services have no WebSockets
    from keel.http.websockets import WebSocketRecordMiddleware  # noqa: PLC0415

    def around(app: ASGIApp) -> ASGIApp:
        access = WebSocketAccess(
            app,
            [limiter.check, hosts.check, cors.Origins(settings).check],
            read_token=lambda scope: read_token(scope, authenticator, limiter.exhausted),
            seconds=settings.request_timeout_seconds,
            idle_seconds=settings.websocket_idle_seconds,
            most=settings.max_websockets,
        )
        return WebSocketRecordMiddleware(app, access, requests, registry)

    return around


def _worker(parts: Parts, features: Sequence[Feature]) -> "Worker | None":
    """What runs the features' tasks; None if there are none, or if other processes run them.

    Raises:
        ConfigurationError: with the mistakes of all schedules, also if other processes run them.
    """
    # Not where they are written: modules are imported then, and a mistake would end in a traceback.
    schedules = [schedule for feature in features for schedule in feature.schedules]
    if mistakes := [mistake for schedule in schedules if (mistake := schedule.mistake())]:
        raise ConfigurationError(*mistakes)
    handlers = [(task, handler) for feature in features for task, handler in feature.tasks.items()]
    settings = parts.settings
    if not handlers or not settings.tasks_at_once:
        return None
    from keel.tasks.worker import Worker  # noqa: PLC0415  # a service without tasks has no tables for them

    return Worker(
        parts.tasks,
        handlers,
        schedules,
        parts.registry,
        at_once=settings.tasks_at_once,
        poll_seconds=settings.tasks_poll_seconds,
        lease_seconds=settings.tasks_lease_seconds,
    )


def _task_seconds(settings: Settings) -> float:
    """How long running tasks may take after SIGTERM: as long as requests, but for what it takes to give them back."""
    return max(0.0, settings.drain_delay_seconds + settings.drain_timeout_seconds - GIVE_BACK_SECONDS)


def _section(domain: Domain) -> openapi.Section:
    return openapi.Section(domain.tags, domain.problems)


def token_verifier(settings: Settings, keys: KeySource) -> TokenVerifier:
    """The verifier of tokens, as the settings describe those of the identity provider."""
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
    """The source of the issuer's keys: APP_JWKS_URL, APP_JWKS_FILE or APP_JWKS_DISCOVERY.

    Without any of them, in environment local, it is the development key, whose file may be made later.
    """
    pace: dict[str, Any] = {
        "refresh": settings.jwks_refresh_seconds,
        "cooldown": settings.jwks_cooldown_seconds,
        "timeout": settings.jwks_timeout_seconds,
        "registry": registry,
        "user_agent": f"{settings.product.name}/{settings.product.version}",
    }
    if settings.jwks_discovery:
        return DiscoveredJwks(settings.jwt_issuer, **pace)
    if settings.jwks_url is not None:
        return JwksUrl(settings.jwks_url, **pace)
    if settings.jwks_file is None:
        return JwksFile(settings.dev_key_file, dev_token.parse_dev_key)
    keys = JwksFile(settings.jwks_file, parse_jwks)
    try:
        keys.load()
    except JwksFileError as error:
        raise ConfigurationError(f"APP_JWKS_FILE: {error}") from error
    return keys
