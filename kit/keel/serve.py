"""Serve any ASGI application as the Helm chart wants it: `python -m keel.serve module:app`.

The application stays as it is. Beside it there is a management port with probes and metrics; SIGTERM drains it; each
request has an id, a line in the log as JSON, and a place in the histogram `http_request_duration_seconds` by method,
route and status. The settings are those of any service, `APP_PORT` and so on: `--settings` prints them.
"""

import argparse
import importlib
import math
import os
import re
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel import happy_eyeballs
from keel.domain import Check
from keel.http import websockets
from keel.http.protocol import ConnectionLimits
from keel.http.request_recording import RequestRecordMiddleware
from keel.http.streams import Streams
from keel.http.time_limit import AwaitedBodies
from keel.management import create_management
from keel.observability import logs
from keel.observability.event_loop import EventLoopLag
from keel.observability.merged_metrics import tell
from keel.observability.metrics import RequestMetrics, create_registry
from keel.observability.probes import Health
from keel.observability.request_id import RequestIdMiddleware
from keel.product import Product
from keel.server import Lifecycle, ServeError, allow_connections, listen, spread
from keel.service import Served
from keel.settings import ConfigurationError, Settings, settings_of
from keel.settings.reference import reference
from keel.workers import REGISTRY_PATH
from keel.workers import run as supervise

FAILED, MISCONFIGURED = 1, 2
MIN_WORKERS = 2  # that need another process to supervise them
NO_SNIFF = (b"x-content-type-options", b"nosniff")
STANDARD = ("process_", "python_")  # which every registry has


class TargetError(Exception):
    """The message is a sentence that says what to do."""


class _ApplicationsMetrics(Collector):
    """What the application counts in prometheus_client's own registry, beside what is counted here."""

    def __init__(self, ours: CollectorRegistry) -> None:
        self._ours = {family.name for family in ours.collect()}

    def describe(self) -> list[Metric]:
        return []  # so that nothing is collected before it is asked for

    def collect(self) -> Iterator[Metric]:
        for family in REGISTRY.collect():
            if family.name not in self._ours and not family.name.startswith(STANDARD):
                yield family


class _NoSniffMiddleware:
    """Browsers take an answer for what it says it is (https://fetch.spec.whatwg.org/#x-content-type-options-header)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "http":
            return self.app(scope, receive, send)

        def with_header(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                if all(name.lower() != NO_SNIFF[0] for name, _ in headers):
                    message["headers"] = [*headers, NO_SNIFF]
            return send(message)

        return self.app(scope, receive, with_header)


def run(
    app: ASGIApp,
    *,
    name: str = "service",
    version: str = "0.0.0",
    checks: Mapping[str, Check] | None = None,
    optional_checks: Mapping[str, Check] | None = None,
    workers: int = 1,
) -> int:
    """Serve an application until SIGTERM; returns the exit code.

    Args:
        app: any ASGI application, its lifespan included.
        name: a DNS label, for logs and metrics.
        version: its release, likewise.
        checks: coroutines by the name of a dependency, which raise while it is away. A pod gets no requests before each
            of them has passed once.
        optional_checks: likewise, without which a pod is ready. Both are told by /readyz and `dependency_up`.
        workers: how many processes serve it, with one view of their metrics. They are forked here: before this call the
            application must not have begun a thread or opened a connection.

    Raises:
        ConfigurationError: with every mistake of the settings.
        ServeError: a port is taken.
    """
    return _run(lambda: app, name, version, checks or {}, optional_checks or {}, workers)


def _run(
    load: Callable[[], ASGIApp],
    name: str,
    version: str,
    checks: Mapping[str, Check],
    optional_checks: Mapping[str, Check],
    workers: int,
) -> int:
    settings = settings_of(Product(name=name, title=name, version=version, package="keel.serve", tokens=False)).load()
    if workers < MIN_WORKERS:
        app = load()
        logs.configure(settings)
        with (
            listen(settings.host, settings.port, "APP") as public,
            listen(settings.management_host, settings.management_port, "APP_MANAGEMENT") as management,
        ):
            return happy_eyeballs.run(_serve(app, settings, checks, optional_checks, public, management))
    # The pod's limit, not each worker's.
    shared = settings.model_copy(update={"max_connections": max(1, settings.max_connections // workers)})

    with tempfile.TemporaryFile() as mistakes:

        def serve(_: int, public: socket.socket, management: socket.socket) -> int:
            try:
                app = load()
            except TargetError as error:
                os.write(mistakes.fileno(), f"{error}\n".encode())
                return MISCONFIGURED
            logs.configure(shared)
            return happy_eyeballs.run(_serve(app, shared, checks, optional_checks, public, management, is_worker=True))

        code = supervise(settings, workers, serve)
        # The workers find the same mistake. The first that ends has the others ended, so none of them can say it alone.
        mistakes.seek(0)
        sys.stderr.write(mistakes.readline().decode())
    return code


async def _serve(
    app: ASGIApp,
    settings: Settings,
    checks: Mapping[str, Check],
    optional_checks: Mapping[str, Check],
    public: socket.socket,
    management: socket.socket,
    *,
    is_worker: bool = False,
) -> int:
    registry = create_registry(settings.product.version)
    lag = EventLoopLag(registry)
    health = Health(
        checks, settings.check_interval_seconds, settings.check_timeout_seconds, optional_checks, registry=registry
    )
    metrics = RequestMetrics(registry)
    streams = Streams(settings.request_timeout_seconds, math.inf, registry)
    served: ASGIApp = RequestIdMiddleware(_NoSniffMiddleware(RequestRecordMiddleware(app, metrics, streams)))
    websocket = websockets.protocol(spread(settings))
    if websocket:
        served = websockets.WebSocketRecordMiddleware(served, app, metrics, registry)
    limits = ConnectionLimits(settings, registry)
    registry.register(_ApplicationsMetrics(registry))

    async def told(_request: Request) -> Response:
        return Response(tell([registry, REGISTRY]), media_type="application/json")

    managing = create_management(health, registry, more=[Route(REGISTRY_PATH, told)] if is_worker else [])
    limits.max_connections = allow_connections(settings.max_connections)
    bodies = AwaitedBodies(settings.max_concurrent_requests)
    apps = Served(settings.product, served, managing, health, limits, bodies, streams, registry)
    how: dict[str, Any] = {"announces": False, "accepted_at_once": 1} if is_worker else {}
    async with health.watching(), lag.watching():
        return await Lifecycle(settings, apps, websocket=websocket, **how).run(public, management)


def load(target: str, *, factory: bool = False) -> Any:
    """The application that `module:name` names; with `factory`, what calling it returns.

    Raises:
        TargetError: there is no such thing.
    """
    module, _, name = target.partition(":")
    if not re.fullmatch(r"[\w.]+:[\w.]+", target):
        raise TargetError(f"'{target}' names no application: write MODULE:NAME, as main:app.")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise TargetError(
            f"There is no module {module} in {os.getcwd()}: name another folder with --app-dir."
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise TargetError(f"The module {module} has no {name}.")
        found = getattr(found, part)
    found = found() if factory else found
    if not callable(found):
        raise TargetError(f"{target} is no ASGI application: it cannot be called. Is it a factory, or another name?")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 1 if it failed, 2 if the configuration or the target is wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error("--workers: it takes one at least")
    if options.settings:
        sys.stdout.write(f"{reference([Settings])}\n")
        return 0
    sys.path.insert(0, str(options.app_dir))
    try:
        return _run(
            lambda: load(options.target, factory=options.factory),
            options.name,
            options.version,
            {},
            {},
            options.workers,
        )
    except ConfigurationError as error:
        sys.stderr.write("\n  ".join(["The configuration is not valid:", *error.problems]) + "\n")
        return MISCONFIGURED
    except TargetError as error:
        sys.stderr.write(f"{error}\n")
        return MISCONFIGURED
    except ServeError as error:
        sys.stderr.write(f"{error}\n")
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keel.serve", description="Serve an ASGI application with probes, metrics, logs and a drain."
    )
    parser.add_argument(
        "target", nargs="?", default="main:app", help="MODULE:NAME of the application (default: main:app)"
    )
    parser.add_argument("--factory", action="store_true", help="NAME is a function that returns the application")
    parser.add_argument("--app-dir", type=Path, default=Path(), help="folder of MODULE (default: this one)")
    parser.add_argument("--name", default=os.environ.get("OTEL_SERVICE_NAME") or "service", help="of the service")
    parser.add_argument("--version", default="0.0.0", help="of the service, in logs and metrics")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.environ.get("WEB_CONCURRENCY") or 1,
        help="processes that serve it (default: WEB_CONCURRENCY, or 1)",
    )
    parser.add_argument("--settings", action="store_true", help="print what every variable means instead, as Markdown")
    return parser


if __name__ == "__main__":
    sys.exit(main())
