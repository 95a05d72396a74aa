"""Keeps what Alertmanager posts to it, and gives it back. A program for the cluster, of the standard library alone.

POST / takes a notification, GET / gives all of them with when they came (seconds since 1970), DELETE / forgets them.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import json
import signal
import sys
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BYTES = 1 << 20
kept: deque[dict[str, Any]] = deque(maxlen=1000)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    wbufsize = -1  # head and body in one packet: the second would wait for the first to be acknowledged

    def do_GET(self) -> None:
        self._answer(200, list(kept))

    def do_DELETE(self) -> None:
        kept.clear()
        self._answer(200, [])

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= MAX_BYTES):
            self.close_connection = True  # the body stays unread
            self._answer(413, f"Send at most {MAX_BYTES} bytes, and say how many.")
            return
        try:
            notification = json.loads(self.rfile.read(int(length)))
        except ValueError:
            self._answer(400, "Send JSON.")
            return
        kept.append({"received": time.time(), "notification": notification})
        self._answer(200, "Kept.")

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main(host: str, port: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
