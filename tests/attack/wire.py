"""Connections on which bytes are written as they are, which no HTTP client would do."""

import contextlib
import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LOOPBACK = "127.0.0.1"
SECONDS = 20.0  # the longest wait for an answer that is due at once


@dataclass(frozen=True)
class Answer:
    """What came back. The status is 0 where no answer came, and `reason` says why."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reason: str = ""

    @property
    def json(self) -> Any:
        """The body; an empty object where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return {}

    def __str__(self) -> str:
        return f"{self.status or self.reason} {self.body[:120].decode(errors='replace')}".strip()


@dataclass(frozen=True)
class Address:
    """Where the service listens on this machine, and the certificate's name and authorities if it speaks TLS there."""

    port: int
    name: str
    trust: ssl.SSLContext | None = None

    @contextlib.contextmanager
    def connect(self, source: str = "", receive_buffer: int = 0) -> Iterator["Connection"]:
        """A connection, from another address of this machine if `source` is one."""
        with socket.socket() as plain:
            plain.settimeout(SECONDS)
            if receive_buffer:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                plain.bind((source, 0))
            plain.connect((LOOPBACK, self.port))
            if self.trust is None:
                yield Connection(plain)
                return
            with self.trust.wrap_socket(plain, server_hostname=self.name) as ciphered:
                yield Connection(ciphered)


class Connection:
    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream

    def send(self, data: bytes) -> None:
        """Write as much as the other side takes: who refuses a request need not read all of it."""
        with contextlib.suppress(OSError):
            self.stream.sendall(data)

    def answer(self, method: str = "GET", seconds: float = SECONDS) -> Answer:
        """The next answer."""
        self.stream.settimeout(seconds)
        response = http.client.HTTPResponse(self.stream, method=method)
        try:
            response.begin()
            body = response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Answer(0, reason=f"no answer: {type(error).__name__}")
        finally:
            response.close()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def head(method: str, path: str, headers: list[tuple[str, str]]) -> bytes:
    """The head of a request, in which nothing is quoted, added or put in order."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
