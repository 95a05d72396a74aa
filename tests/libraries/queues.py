"""The service of docs/other-queues.md as it is written there, with its workers and the one that sends its letters."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.libraries.environment import python
from tests.support.processes import until
from tests.support.servers import Valkey
from toolkit.paths import ROOT
from toolkit.ports import free_port

DOCUMENT = ROOT / "docs" / "other-queues.md"
BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```$", re.M | re.S)
BLOCKS: list[tuple[str, str]] = BLOCK.findall(DOCUMENT.read_text(encoding="utf-8"))
MAIN = '''"""The service."""

from keel.product import Product
from keel.service import Service

from bookings.{library}_letters import LETTERS

PRODUCT = Product(
    name="bookings", title="Bookings", summary="Letters.", version="1", package="bookings", tokens=False
)
SERVICE = Service(PRODUCT, [LETTERS])
'''
RUN = "from keel import boot\n\nfrom bookings.main import SERVICE\n\nboot.main(SERVICE)\n"
LOST_AFTER_SECONDS = 8
LARGEST = sys.maxsize


class Office:
    """Sends letters: one for each key. While it is closed, whoever asks it has to wait."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}
        """What was sent, by its key."""
        self.asked: Counter[str] = Counter()
        """How often, by the key."""
        self.refused: set[str] = set()
        """Keys of letters that are answered with 500."""
        self.waiting: Counter[str] = Counter()
        self.traces: set[str] = set()
        self._lock = threading.Lock()
        self._gate = threading.Event()
        """Set while it is open. The next closing has another, so whoever was let through goes on."""
        self._gate.set()
        self._closing_at = LARGEST
        office = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                status, body = 200, self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/letters":  # else what the service's traces are sent to
                    key = self.headers["idempotency-key"]
                    status = office._send(key, body.decode(), self.headers["traceparent"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _send(self, key: str, text: str, traceparent: str) -> int:
        with self._lock:
            self.asked[key] += 1
            self.traces.add(traceparent)
            if key in self.refused:
                return 500
            if self._gate.is_set() and len(self.letters) >= self._closing_at:
                self._gate = threading.Event()
            gate = self._gate
            self.waiting[key] += 1
        gate.wait()
        with self._lock:
            self.waiting[key] -= 1
            self.letters.setdefault(key, text)
        return 200

    @property
    def held(self) -> set[str]:
        """The keys of those who wait."""
        with self._lock:
            return set(+self.waiting)

    def close_at(self, letters: int) -> None:
        """Close, for the next who asks, once so many have been sent."""
        with self._lock:
            self._closing_at = letters

    def open(self, close_at: int = LARGEST) -> None:
        """Let go on whoever waits."""
        with self._lock:
            self._closing_at = close_at
            self._gate.set()

    def stop(self) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()


class Process:
    """The service or one of its workers, in a group of its own, with its log in a file."""

    def __init__(self, command: list[str], directory: Path, name: str, environment: dict[str, str]) -> None:
        self.port = free_port()
        self.file = directory / f"{name}.log"
        self.address = f"http://127.0.0.1:{self.port}"
        variables = {**environment, "APP_MANAGEMENT_PORT": str(self.port)}
        with self.file.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=variables, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self.file.read_text(errors="replace")

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return httpx.get(f"{self.address}/metrics").status_code == 200
        except httpx.TransportError:
            return False

    def signal(self, number: int) -> None:
        """To the first process, as Kubernetes sends it."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """All of its processes at once, as when its node is gone."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)

    def kill_children(self) -> None:
        """Those that run its tasks, as when they take too much memory."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def end(self) -> int:
        """Wait for it; its exit code."""
        return self.process.wait(30)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.kill()


class Bookings:
    """All of it, with a Valkey that is its queue."""

    def __init__(self, library: str, directory: Path, valkey: Valkey) -> None:
        self.library = library
        self.directory = directory
        self.valkey = valkey
        self.office = Office()
        self.processes: list[Process] = []
        self.client: httpx.Client | None = None
        for name, code in BLOCKS:
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(code)
        (directory / "bookings" / "__init__.py").touch()
        (directory / "bookings" / "main.py").write_text(MAIN.format(library=library))
        (directory / "bookings" / "__main__.py").write_text(RUN)
        self.values: dict[str, Any] = yaml.safe_load(dict(BLOCKS)[f"{library}-values.yaml"])
        self.bin = python().parent

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{self.directory}:{ROOT / 'kit'}",
            "XDG_STATE_HOME": str(self.directory),
            "QUEUE_URL": self.valkey.url.replace("valkey://", "redis://"),
            "QUEUE_LOST_AFTER_SECONDS": str(LOST_AFTER_SECONDS),
            "QUEUE_TIDY_SECONDS": "0.5",
            "QUEUE_POST_URL": self.office.url,
            **more,
        }

    def serve(self) -> None:
        """Start the service, which sends its traces to the office."""
        port = free_port()
        if self.client:
            self.client.close()
        variables = {
            "APP_PORT": str(port),
            "APP_DRAIN_DELAY_SECONDS": "0",
            "APP_OTLP_ENDPOINT": self.office.url,
            "APP_RATE_LIMIT_ADDRESS_PER_MINUTE": "0",
        }
        command = [str(self.bin / "python"), "-m", "bookings", "serve"]
        self.service = self._start(Process(command, self.directory, "service", self.environment(**variables)))
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/letters", timeout=30)

    def work(self, name: str, **more: str) -> Process:
        """Start a worker as the document's values say, in a file system of its own."""
        values = self.values["workers"]["letters"]
        metrics = self.directory / f"{name}-metrics"
        metrics.mkdir()
        variables = {each["name"]: each["value"] for each in values["env"]}
        assert variables == {"PROMETHEUS_MULTIPROC_DIR": "/tmp"}  # noqa: S108
        program, *arguments = values["command"]
        environment = self.environment(PROMETHEUS_MULTIPROC_DIR=str(metrics), **more)
        return self._start(Process([str(self.bin / program), *arguments], self.directory, name, environment))

    def _start(self, process: Process) -> Process:
        self.processes.append(process)
        return process

    def put(self, key: str) -> int:
        """Ask the service for a letter; the status."""
        assert self.client
        return self.client.put(f"/{key}", params={"text": f"Dear {key}"}).status_code

    def left(self) -> int:
        """How many tasks wait, or are not acknowledged."""
        if self.library == "celery":
            return self.number("LLEN", "celery") + self.number("HLEN", "unacked")
        (answer,) = self._list("XINFO", "GROUPS", "bookings")
        group = dict(zip(answer[::2], answer[1::2], strict=True))
        waiting = self._list("XRANGE", "bookings", f"({group['last-delivered-id']}", "+")
        return int(group["pending"]) + len(waiting)

    def number(self, *command: str) -> int:
        answer = self.valkey.execute(*command)
        assert isinstance(answer, int)
        return answer

    def _list(self, *command: str) -> list[Any]:
        answer = self.valkey.execute(*command)
        assert isinstance(answer, list)
        return answer

    def stop(self) -> None:
        if self.client:
            self.client.close()
        self.office.stop()
        for process in self.processes:
            process.stop()


def until_ready(*processes: Process) -> None:
    until(lambda: all(process.ready() for process in processes), seconds=60)
