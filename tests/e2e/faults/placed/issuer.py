"""Answers each GET with the key set in a file, as many seconds later as another file says. Both may be changed."""

import http.server
import time
from pathlib import Path

KEYS, DELAY = Path("/tmp/keys"), Path("/tmp/delay")  # noqa: S108 - a pod's own
FIRST_KEYS = Path("/run/files/keys")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(float(DELAY.read_text()))
        body = KEYS.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/jwk-set+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


DELAY.write_text("0")
KEYS.write_text(FIRST_KEYS.read_text())
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()  # noqa: S104 - a pod's
