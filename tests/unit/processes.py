"""`python -m app`, as a process of its own."""

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

import app as package
from keel.security import dev_token
from tests.unit.product import Settings

ROOT = Path(package.__file__).parent.parent
BODY = b'{"url": "https://example.com", "slug": "page"}'


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


class App:
    """`python -m app` on free ports, in a directory of its own."""

    def __init__(self, directory: Path, **variables: str) -> None:
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
            [sys.executable, "-m", "app"],
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
        until(lambda: self.logged("serving") or self.process.poll() is not None)
        assert self.process.poll() is None, (self.log, self.process.communicate())
        (serving,) = (line for line in self.log if line["message"] == "serving")
        self.public, self.management = (
            urlsplit(serving["labels.public"]).netloc,
            urlsplit(serving["labels.management"]).netloc,
        )

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

    def token(self, scope: str) -> str:
        key = dev_token.obtain_key(self.directory / "shipshape" / "dev-key.json")
        settings = Settings()
        return dev_token.mint(
            key,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            subject="dev",
            scope=scope,
            expires_in=60,
        )

    def begin_request(self) -> socket.socket:
        """Half of a request to make a link; the other half is `BODY[20:]`."""
        token = self.token("links:write")
        host, _, port = self.public.partition(":")
        half = socket.create_connection((host, int(port)), timeout=30)
        head = (
            f"POST /api/v1/links HTTP/1.1\r\nHost: {self.public}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        half.sendall(head.encode() + BODY[:20])
        until(lambda: self.get("/metrics").status == 200 and b"http_requests_in_flight 1.0" in self.body)
        return half

    def accepts(self) -> bool:
        host, _, port = self.public.partition(":")
        try:
            socket.create_connection((host, int(port)), timeout=30).close()
        except OSError:
            return False
        return True

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
