"""Several processes that serve one application on one port, with one management port over all of them.

The process that is started opens the ports and forks; it serves no user itself. Each worker is what a single process
would be, with its own drain, and a management port on the loopback interface, which the first process asks:

* /startupz, /livez and /readyz are those of the worker that is worst off: one that hangs is not live, and one that has
  not passed its checks is not ready, as the kernel gives requests to it, too.
* /metrics adds up.
* SIGTERM goes to all, and each drains; the exit code is 0 if theirs are.

A worker that ends by itself ends the pod: the others drain, and Kubernetes starts a new one. To start that worker alone
anew would hide what is wrong, and counters that begin anew in one of several processes cannot be added up.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.process_collector import ProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keel import happy_eyeballs
from keel.http.protocol import ConnectionLimits
from keel.management import application, exposition, report
from keel.observability import logs
from keel.observability.merged_metrics import Merged, tell
from keel.observability.probes import OK
from keel.server import SIGNALS, Server, address, listen
from keel.settings import Settings

log = structlog.get_logger("keel.workers")

FAILED = 1
ANSWER_SECONDS = 5.0  # a worker that takes longer is not live; Kubernetes gives up earlier
START_POLL_SECONDS = 0.05
REGISTRY_PATH = "/registry"  # of a worker's management: its metrics, to be added up

Serve = Callable[[int, socket.socket, socket.socket], int]
"""Serves in a worker, which is given its number and its two listening sockets; returns the exit code."""


@dataclass(frozen=True)
class Worker:
    """A process, which has a management port on the loopback interface."""

    number: int
    pid: int
    port: int

    def signal(self, number: int) -> None:
        """Send it a signal, unless it has ended: that may be a moment before its exit code is noted."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def run(settings: Settings, count: int, serve: Serve) -> int:
    """Serve with so many workers until a signal; returns the exit code. Call it before there is any thread.

    Raises:
        ServeError: a port is taken.
    """
    with (
        tempfile.TemporaryFile() as turns,
        listen(settings.host, settings.port, "APP") as public,
        listen(settings.management_host, settings.management_port, "APP_MANAGEMENT") as management,
    ):
        where = {"public": address(public), "management": address(management)}
        logs.take_turns(turns.fileno())
        workers = _fork(count, public, management, serve)
        public.close()  # each worker has it
        logs.configure(settings)
        return happy_eyeballs.run(_Supervisor(settings, workers).run(management, where))


def _fork(count: int, public: socket.socket, management: socket.socket, serve: Serve) -> list[Worker]:
    alive, ours = os.pipe()  # nothing is written: when the first process is gone, however it ended, this ends
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    workers = []
    for number, listener in enumerate(listeners):
        pid = os.fork()
        if not pid:
            others = [management, *(other for other in listeners if other is not listener)]
            os.close(ours)
            _work(alive, others, partial(serve, number, public, listener))
        workers.append(Worker(number, pid, listener.getsockname()[1]))
    os.close(alive)
    for listener in listeners:
        listener.close()
    return workers


def _work(alive: int, others: Sequence[socket.socket], serve: Callable[[], int]) -> None:
    """Be a worker; does not return."""
    code = FAILED
    try:
        os.setpgid(0, 0)  # Ctrl-C on a terminal is for the first process, which passes it on
        for other in others:
            other.close()
        threading.Thread(target=_end_with_the_first, args=(alive,), daemon=True).start()
        code = serve()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _end_with_the_first(alive: int) -> None:
    os.read(alive, 1)
    os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor:
    """The first process: the management port of all, and their end."""

    def __init__(self, settings: Settings, workers: Sequence[Worker]) -> None:
        self._settings = settings
        self._workers = workers
        self._codes: dict[Worker, int] = {}
        """Exit codes of those that have ended."""
        self._stopping = False
        self._signal = 0
        """The second one, which ended all at once."""
        self._told: dict[str, bytes] = {}
        """What each has told of its metrics last. It is kept, so that no sum falls while one is busy or has ended."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._answering = Gauge("serve_workers", "Workers that answer.", registry=self._registry)

    async def run(self, management: socket.socket, where: dict[str, str]) -> int:
        """Serve the management port until all workers have ended."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal, number)
        limits = ConnectionLimits(self._settings, CollectorRegistry())
        server = Server(application(self._routes()), self._settings, limits)
        serving = asyncio.create_task(server.run_on(management))
        announcing = asyncio.create_task(self._announce(where))
        with ThreadPoolExecutor(len(self._workers)) as threads:
            ends = [loop.run_in_executor(threads, self._wait_for, worker) for worker in self._workers]
            code = 0
            for end in asyncio.as_completed(ends):
                worker = await end
                ended = self._codes[worker]
                if not self._stopping:
                    log.error("a worker ended by itself: ending the process", worker=worker.number, exit_code=ended)
                    self._stop(signal.SIGTERM)
                    ended = ended or FAILED
                code = code or ended
        announcing.cancel()
        server.should_exit = True
        await asyncio.wait([serving])
        return 128 + self._signal if self._signal else code if code in range(128) else FAILED

    def _wait_for(self, worker: Worker) -> Worker:
        _, status = os.waitpid(worker.pid, 0)
        self._codes[worker] = os.waitstatus_to_exitcode(status)
        return worker

    async def _announce(self, where: dict[str, str]) -> None:
        while not all(  # noqa: ASYNC110  # it is another process
            answer and answer[0] == 200 for answer in await self._ask_all("/startupz")
        ):
            await asyncio.sleep(START_POLL_SECONDS)
        if not self._stopping:
            log.info("serving", **where, workers=len(self._workers))

    def _on_signal(self, number: int) -> None:
        if self._stopping:
            self._signal = number
        self._stop(number)

    def _stop(self, number: int) -> None:
        self._stopping = True
        for worker in self._workers:
            if worker not in self._codes:
                worker.signal(number)

    def _routes(self) -> list[Route]:
        return [
            *(Route(path, self._probe) for path in ("/startupz", "/livez", "/readyz")),
            Route("/metrics", self._metrics),
            Route("/log-level", self._log_level, methods=["GET", "PUT"]),
        ]

    async def _probe(self, request: Request) -> Response:
        path = request.url.path
        checks: dict[str, str] = {}
        fine = True
        for worker, answer in zip(self._workers, await self._ask_all(path), strict=True):
            if self._stopping and worker in self._codes:
                continue
            status, body = answer or (0, b"")
            found = json.loads(body)["checks"] if answer else {f"worker {worker.number}": "no answer"}
            checks.update({name: result for name, result in found.items() if checks.get(name, OK) == OK})
            fine = fine and status == 200
        if self._stopping and path == "/readyz":
            checks["drain"], fine = "draining", False
        return report(checks, ready=fine)

    async def _metrics(self, request: Request) -> Response:
        answers = await self._ask_all(REGISTRY_PATH)
        for worker, answer in zip(self._workers, answers, strict=True):
            if answer and answer[0] == 200:
                self._told[str(worker.number)] = answer[1]
        self._answering.set(sum(answer is not None for answer in answers))
        merged = CollectorRegistry()
        merged.register(Merged({**self._told, "supervisor": tell([self._registry])}))
        return exposition(merged, request)

    async def _log_level(self, request: Request) -> Response:
        answers = await self._ask_all("/log-level", request.method, await request.body())
        answer = next((each for each in answers if each), None)
        if answer is None:
            return report({"workers": "no answer"}, ready=False)
        if answer[0] == 200:
            logs.set_level(json.loads(answer[1])["level"])
        return Response(answer[1], answer[0], media_type="application/json")

    async def _ask_all(self, path: str, method: str = "GET", body: bytes = b"") -> list[tuple[int, bytes] | None]:
        """Status and body of each worker's answer; None for one that does not answer."""
        return await asyncio.gather(*(_ask(worker.port, path, method, body) for worker in self._workers))


async def _ask(port: int, path: str, method: str, body: bytes) -> tuple[int, bytes] | None:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(head.encode() + body)
                answer = await reader.read()
            finally:
                writer.close()
        start, _, content = answer.partition(b"\r\n\r\n")
        return int(start.split()[1]), content
    return None
