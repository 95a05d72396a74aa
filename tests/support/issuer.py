"""A real HTTP server of our own that publishes keys, and answers as a test wants."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme


class Issuer(ThreadingHTTPServer):
    """Answers every GET with `status`, `headers` and `body`, once `open` is set; `drip` sends single bytes.

    `pause` seconds are between these. With `pages`, the answer depends on the path, and is 404 for one without a page.
    """

    daemon_threads = True

    def __init__(self, body: bytes = b"") -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.scheme = "http"
        self.status, self.body, self.drip, self.pause = 200, body, False, 0.02
        self.pages: dict[str, bytes] | None = None
        self.headers: dict[str, str] = {}
        self.open = threading.Event()
        self.open.set()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.times: list[float] = []

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/jwks.json?p=x"

    @property
    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for path, _ in self.requests]

    def answer(self, path: str) -> tuple[int, bytes]:
        if self.pages is None or self.status != 200:
            return self.status, self.body
        return (200, self.pages[path]) if path in self.pages else (404, b"")

    def speak_tls(self, directory: Path) -> Path:
        """From now on; returns the file of the authority to trust."""
        authority = trustme.CA()
        path = directory / "authority.crt"
        authority.cert_pem.write_to_path(path)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"
        return path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error."""


class _Answer(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        issuer = self.server
        issuer.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        issuer.times.append(time.monotonic())
        issuer.open.wait(30)
        status, body = issuer.answer(self.path)
        self.send_response(status)
        for name, value in issuer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, len(body), 1 if issuer.drip else len(body) or 1):
            self.wfile.write(body[start : start + 1] if issuer.drip else body)
            if issuer.drip:
                time.sleep(issuer.pause)

    def log_message(self, *_: Any) -> None:
        pass
