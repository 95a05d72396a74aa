"""The lifecycle of the process: two servers on one event loop, and a drain that loses no request.

On the first SIGTERM or SIGINT the process becomes unready, and the public port serves for the drain delay, until load
balancers have noticed. Then it stops accepting connections, finishes the requests in flight, and closes. The management
port responds until the end. A second signal ends the process at once.
"""

import asyncio
import contextlib
import functools
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from keel.data import migrate
from keel.http import websockets
from keel.http.acceptor import MAX_PER_ROUND, Acceptor
from keel.http.protocol import ConnectionLimits, HttpProtocol, enforce_head_timeouts
from keel.service import Configuration, Served, Service
from keel.settings import Settings

log = structlog.get_logger("keel.server")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
GC_THRESHOLD = 10_000  # objects allocated and not freed; Python's default of 700 is reached too often
OTHER_FILES = 200  # open files besides users' connections: probes, database, Valkey and files
CLOSE_SECONDS = 5  # to close the database's connections after the last request


def spread(settings: Settings) -> float:
    """Over how many seconds of the drain event streams and WebSockets end: not all clients are to come back at once."""
    return settings.drain_timeout_seconds / 2


class ServeError(Exception):
    """The service cannot be served; the message is a sentence that says what to do."""


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which would refuse new connections at once."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        limits: ConnectionLimits,
        *,
        limited: bool = False,
        websocket: type[Any] | None = None,
        accepted_at_once: int = MAX_PER_ROUND,
    ) -> None:
        """`websocket` is the protocol of connections that become WebSockets; without it none does."""
        # uvicorn's type is a class, but it only calls it.
        protocol: Any = functools.partial(HttpProtocol, limits=limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws=websocket or "none",
                ws_max_size=settings.websocket_max_bytes,
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=BACKLOG,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=settings.trusted_proxies,
                timeout_keep_alive=settings.keep_alive_seconds,
            )
        )
        self.limits = limits
        self.limited = limited
        """Whether the limit of connections is for this server."""
        if limited:
            limits.connections = self.server_state.connections
        self.listening = asyncio.Event()
        self._accepted_at_once = accepted_at_once

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # only the lifespan: uvicorn's servers accept one connection at a time
        make: Any = self.config.http_protocol_class
        shared = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        protocol = functools.partial(make, **shared)
        how: dict[str, Any] = {"at_once": self._accepted_at_once}
        if self.limited:
            how["room"] = self.limits.room
        acceptors: list[Any] = [Acceptor(each, protocol, **how) for each in sockets or []]
        self.servers = acceptors  # uvicorn closes them
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            enforce_head_timeouts(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def run_on(self, listener: socket.socket | None) -> None:
        """Serve on a listening socket until `should_exit`; without one, only run the lifespan."""
        # uvicorn exits the interpreter if the lifespan fails; it has logged why.
        with contextlib.suppress(SystemExit):
            await self.serve(sockets=[listener] if listener else [])

    def drain(self) -> None:
        """From now on, put "Connection: close" into every response, so that clients connect to another pod."""
        self.limits.draining = True
        connections: set[Any] = self.server_state.connections
        for connection in connections:
            connection.close_after_response()

    def cut_off(self) -> int:
        """Cancel the requests in flight and close all connections; returns how many requests there were."""
        requests, connections = list(self.server_state.tasks), list(self.server_state.connections)
        for request in requests:
            request.cancel()
        for connection in connections:
            connection.transport.abort()
        return len(requests)


class Lifecycle:
    """Serves from listening to the exit code, with the drain after SIGTERM."""

    def __init__(self, settings: Settings, apps: Served, *, announces: bool = True, **public: Any) -> None:
        """`public` is what the public port's Server has besides. A worker announces nothing: there are others."""
        self.settings = settings
        self.announces = announces
        self.product = apps.product
        self.health = apps.health
        self.bodies = apps.bodies
        self.streams = apps.streams
        self.public = Server(apps.public, settings, apps.limits, limited=True, **public)
        self.management = Server(apps.management, settings, apps.limits)
        self._stop = asyncio.Event()

    async def run(self, public: socket.socket | None, management: socket.socket) -> int:
        """Serve on these listening sockets until a signal. Without a public one, only background work is done.

        Returns:
            The exit code: 0 after a clean drain, 1 if requests were cut off or a server ended by itself.
        """
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        management_task = asyncio.create_task(self.management.run_on(management))
        public_task = asyncio.create_task(self.public.run_on(public))
        stopping = asyncio.create_task(self._stop.wait())
        announcing = asyncio.create_task(self._announce(public, management))
        servers = {management_task, public_task}
        try:
            await asyncio.wait({*servers, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if self._stop.is_set() and self.health.started:
                log.info("draining: not ready, still serving", seconds=self.settings.drain_delay_seconds)
                delay = self.settings.drain_delay_seconds
                await asyncio.wait(servers, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
            died = any(server.done() for server in servers)
            if died:
                log.error("a server ended by itself: ending the process")
            self.bodies.drain()
            self.streams.drain(spread(self.settings))
            clean = await self._finish(self.public, public_task, self.settings.drain_timeout_seconds)
            return 0 if clean and not died else 1
        finally:
            announcing.cancel()
            stopping.cancel()
            await self._finish(self.management, management_task, 1)
            log.info("stopped")

    async def _announce(self, public: socket.socket | None, management: socket.socket) -> None:
        await self.management.listening.wait()
        await self.public.listening.wait()
        if self._stop.is_set():
            return
        freeze_gc()
        self.health.started = True
        if public is None:
            log.info("working", management=address(management))
            return
        if self.announces:
            log.info("serving", public=address(public), management=address(management))
        chosen = self.settings
        issued_elsewhere = chosen.jwks_file or chosen.jwks_url or chosen.jwks_discovery
        if self.product.tokens and chosen.environment == "local" and not issued_elsewhere:
            log.info(f"to use the API, mint a token: python -m {self.product.package} token")

    async def _finish(self, server: Server, task: asyncio.Task[None], seconds: float) -> bool:
        """Stop accepting, and wait `seconds` for the requests in flight; returns whether that was enough."""
        server.should_exit = True
        _, late = await asyncio.wait([task], timeout=seconds)
        cut = server.cut_off() if late else 0
        if cut:
            log.error("out of time: requests cut off", requests=cut, seconds=seconds)
        await asyncio.wait([task], timeout=CLOSE_SECONDS)
        if task.done() and (error := task.exception()):
            log.error("server failed", exc_info=error)
        return not cut

    def _on_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if self._stop.is_set():
            log.warning("second signal: ending at once", signal=name)
            sys.stdout.flush()
            # Not sys.exit: a request or a driver that hangs must not delay the exit.
            os._exit(128 + number)
        log.info("stopping", signal=name)
        self.health.draining = True
        self.public.drain()
        self._stop.set()


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A listening socket. On :: it takes IPv4 too, or only IPv4 where there is no IPv6.

    Raises:
        ServeError: the port is in use, or the address does not exist here. The message names `variable`.
    """
    both = host == "::"
    if both and not socket.has_dualstack_ipv6():
        host, both = "0.0.0.0", False  # noqa: S104 - as configured
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise ServeError(
            f"{variable}_PORT: cannot listen on {host} port {port}: {reason}. "
            f"Stop what uses it, or set {variable}_HOST or {variable}_PORT to something else."
        ) from error


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_connections(wanted: int) -> int:
    """Raise the limit of open files for this many connections; returns how many it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + OTHER_FILES:
        return wanted
    limit = wanted + OTHER_FILES if hard == resource.RLIM_INFINITY else min(wanted + OTHER_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    allowed = max(1, min(wanted, limit - OTHER_FILES))
    if allowed < wanted:
        log.warning("fewer connections than APP_MAX_CONNECTIONS: raise the limit of open files", connections=allowed)
    return allowed


def freeze_gc() -> None:
    """Exclude all objects of the start from garbage collection, and collect less often from now on.

    keel.boot has switched collection off for the start. There is no collection before the freeze: of 170,000 objects
    less than a thousand are garbage, and to find them takes a tenth of the start.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(GC_THRESHOLD)


async def serve(service: Service, configuration: Configuration, *, public_port: bool = True) -> int:
    """Run the service; returns the exit code. Without a public port it only does background work."""
    settings = configuration.settings
    with (
        listen(settings.host, settings.port, "APP") if public_port else contextlib.nullcontext() as public,
        listen(settings.management_host, settings.management_port, "APP_MANAGEMENT") as management,
    ):
        apps = service.build(settings, configuration.own)
        apps.limits.max_connections = allow_connections(settings.max_connections)
        # A file belongs to this process. A server is migrated once, before a release.
        if service.product.has_database and settings.dialect.is_file:
            await migrate.migrate(settings)
        how: dict[str, Any] = {"websocket": _websocket_protocol(settings)} if apps.has_websockets else {}
        return await Lifecycle(settings, apps, **how).run(public, management)


def _websocket_protocol(settings: Settings) -> type[Any]:
    """The protocol of WebSockets.

    Raises:
        ServeError: its library is not installed.
    """
    found = websockets.protocol(spread(settings))
    if found is None:
        raise ServeError(
            "The service has routes for WebSockets, but no library for them: install fastapi-keel[websockets]."
        )
    return found
