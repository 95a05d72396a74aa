"""A service as a process of its own, as `python -m` runs it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from keel.security import dev_token
from keel.service import Service
from toolkit.paths import ROOT

__all__ = ["ROOT", "App", "until"]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


class App:
    """A service on free ports, in a directory of its own."""

    def __init__(self, service: Service, directory: Path, command: str = "serve", **variables: str) -> None:
        self.service = service
        self.directory = directory
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(directory),
            "APP_PORT": "0",
            "APP_MANAGEMENT_PORT": "0",
            "APP_DRAIN_DELAY_SECONDS": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", service.product.package, command],
            cwd=directory,
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        """The log as it was written."""
        self.log: list[dict[str, Any]] = []
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        ready = {"serve": "serving", "work": "working"}[command]
        until(lambda: self.logged(ready) or self.process.poll() is not None)
        assert self.process.poll() is None, (self.log, self.process.communicate())
        (serving,) = (line for line in self.log if line["message"] == ready)
        self.public = urlsplit(serving.get("labels.public", "")).netloc
        """Empty if the process only does background work."""
        self.management = urlsplit(serving["labels.management"]).netloc

    def _read(self) -> None:
        assert self.process.stdout
        for line in iter(self.process.stdout.readline, ""):
            self.lines.append(line)
            self.log.append(json.loads(line))

    def logged(self, event: str) -> bool:
        return any(line["message"] == event for line in list(self.log))

    def get(self, path: str) -> http.client.HTTPResponse:
        """From the port that has the path, over a new connection."""
        probe = path in ("/readyz", "/livez", "/metrics")
        connection = http.client.HTTPConnection(self.management if probe else self.public, timeout=30)
        connection.request("GET", path)
        response = connection.getresponse()
        self.body = response.read()
        connection.close()
        return response

    def text(self, path: str) -> str:
        """The body of the answer."""
        self.get(path)
        return self.body.decode()

    def until_metric(self, line: str) -> None:
        """Wait until the metrics have this line."""
        until(lambda: line in self.text("/metrics").splitlines())

    def token(self, scope: str) -> str:
        key = dev_token.obtain_key(self.directory / self.service.product.name / "dev-key.json")
        settings = self.service.settings()
        return dev_token.mint(
            key,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            subject="dev",
            scope=scope,
            expires_in=60,
        )

    def begin_request(self, path: str, body: bytes, scope: str) -> socket.socket:
        """A request to make something, without the second half of its body."""
        host, _, port = self.public.partition(":")
        half = socket.create_connection((host, int(port)), timeout=30)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.public}\r\nAuthorization: Bearer {self.token(scope)}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        half.sendall(head.encode() + body[: len(body) // 2])
        until(lambda: self.get("/metrics").status == 200 and b"http_requests_in_flight 1.0" in self.body)
        return half

    def accepts(self) -> bool:
        host, _, port = self.public.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=30).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as when it is out of memory."""
        self.process.kill()
        self.end()

    def end(self) -> tuple[int, str]:
        """Wait for the process; its exit code and what it said on stderr."""
        code = self.process.wait(timeout=60)
        self.reader.join()
        assert self.process.stderr
        assert self.process.stdout
        said = self.process.stderr.read()
        self.process.stderr.close()
        self.process.stdout.close()
        return code, said
