"""The life of the process: two servers on one event loop, and an end that loses no request.

On the first SIGTERM or SIGINT readiness goes off, and the public port serves on for the drain
delay, until load balancers have noticed. Then it stops accepting, finishes what is in flight, and
closes. The management port answers to the very end. A second signal ends the process at once.
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
from keel.http.acceptor import Acceptor
from keel.http.protocol import ConnectionLimits, HttpProtocol, enforce_head_timeouts
from keel.service import Configuration, Served, Service
from keel.settings import Settings

log = structlog.get_logger("keel.server")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
BACKLOG = 2048
GC_THRESHOLD = 10_000  # objects made and not freed, of which a request leaves few: Python's 700 are soon reached
OTHER_FILES = 200  # for the probes, the database, Valkey and what is read, besides the connections of users
CLOSE_SECONDS = 5  # for what remains once no request is in flight: the database's connections


class ServeError(Exception):
    """The message is a sentence that says what to do."""


class Server(uvicorn.Server):
    """uvicorn's server without its signal handling, which refuses new connections at once."""

    def __init__(self, app: ASGIApp, settings: Settings, limits: ConnectionLimits, *, limited: bool = False) -> None:
        # uvicorn asks for a class, and only ever calls it.
        protocol: Any = functools.partial(HttpProtocol, limits=limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
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
        """Whether its connections are those that are counted."""
        if limited:
            limits.connections = self.server_state.connections
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])  # the lifespan alone: what it makes of sockets accepts one connection at a time
        make: Any = self.config.http_protocol_class
        shared = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        protocol = functools.partial(make, **shared)
        room = {"room": self.limits.room} if self.limited else {}
        acceptors: list[Any] = [Acceptor(each, protocol, **room) for each in sockets or []]
        self.servers = acceptors  # for uvicorn to close
        self.listening.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # once a second
            enforce_head_timeouts(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def run_on(self, listener: socket.socket) -> None:
        # uvicorn exits the interpreter when a lifespan fails, having logged why.
        with contextlib.suppress(SystemExit):
            await self.serve(sockets=[listener])

    def drain(self) -> None:
        """Ask clients to leave, with "Connection: close" in every answer from now on."""
        self.limits.draining = True
        connections: set[Any] = self.server_state.connections
        for connection in connections:
            connection.close_after_response()

    def cut_off(self) -> int:
        """Cancel the requests in flight and drop all connections; returns how many requests."""
        requests, connections = list(self.server_state.tasks), list(self.server_state.connections)
        for request in requests:
            request.cancel()
        for connection in connections:
            connection.transport.abort()
        return len(requests)


class Lifecycle:
    """From listening to the exit code: serving, and the drain after SIGTERM."""

    def __init__(self, settings: Settings, apps: Served) -> None:
        self.settings = settings
        self.product = apps.product
        self.health = apps.health
        self.bodies = apps.bodies
        self.public = Server(apps.public, settings, apps.limits, limited=True)
        self.management = Server(apps.management, settings, apps.limits)
        self._stop = asyncio.Event()

    async def run(self, public: socket.socket, management: socket.socket) -> int:
        """Serve on these listening sockets until told to stop.

        Returns:
            The exit code: 0 after a clean drain, 1 if requests were cut off or a server died.
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
                log.error("a server ended by itself, and so does the process")
            self.bodies.drain()
            clean = await self._finish(self.public, public_task, self.settings.drain_timeout_seconds)
            return 0 if clean and not died else 1
        finally:
            announcing.cancel()
            stopping.cancel()
            await self._finish(self.management, management_task, 1)
            log.info("stopped")

    async def _announce(self, public: socket.socket, management: socket.socket) -> None:
        await self.management.listening.wait()
        await self.public.listening.wait()
        if self._stop.is_set():
            return
        freeze_gc()
        self.health.started = True
        log.info("serving", public=address(public), management=address(management))
        chosen = self.settings
        issued_elsewhere = chosen.jwks_file or chosen.jwks_url or chosen.jwks_discovery
        if self.product.tokens and chosen.environment == "local" and not issued_elsewhere:
            log.info(f"to use the API, mint a token: python -m {self.product.package} token")

    async def _finish(self, server: Server, task: asyncio.Task[None], seconds: float) -> bool:
        """Stop accepting and give what is in flight `seconds`; returns whether that was enough."""
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
            # Not sys.exit: a request or a driver that hangs must not hold up someone who asks twice.
            os._exit(128 + number)
        log.info("stopping", signal=name)
        self.health.draining = True
        self.public.drain()
        self._stop.set()


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A listening socket; on ::, for IPv4 as well, and for that alone where there is no IPv6.

    Raises:
        ServeError: the port is taken or the address is not ours; names `variable`.
    """
    both = host == "::"
    if both and not socket.has_dualstack_ipv6():
        host, both = "0.0.0.0", False  # noqa: S104 - that is what was asked for
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
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def allow_connections(wanted: int) -> int:
    """Raise the limit of open files as far as so many connections need it; returns how many it allows."""
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
    """Let the garbage collector leave alone what is here to stay, and look less often for the little that comes.

    keel.boot has switched it off for the start. It is not asked first what of all that is garbage: of 170,000
    objects less than a thousand are, and to find them takes a tenth of the start.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(GC_THRESHOLD)


async def serve(service: Service, configuration: Configuration) -> int:
    """Run the service; returns the exit code."""
    settings = configuration.settings
    with (
        listen(settings.host, settings.port, "APP") as public,
        listen(settings.management_host, settings.management_port, "APP_MANAGEMENT") as management,
    ):
        apps = service.build(settings, configuration.own)
        apps.limits.max_connections = allow_connections(settings.max_connections)
        # A file of our own; PostgreSQL is migrated before a release, once.
        if service.product.has_database and settings.is_sqlite:
            await migrate.migrate(settings)
        return await Lifecycle(settings, apps).run(public, management)
