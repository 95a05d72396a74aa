"""A registry of packages of a test's own, on a port of 127.0.0.1: Debian's, of one shell script each, and others'."""

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NEEDS_DEBIAN = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="packages are made by Debian's own tools")


class Archive:
    """What it serves, by path.

    Of paths that begin with `silent_for` it says nothing until the test ends; the next `breaks_off` answers are none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.silent_for = "nothing"
        self.breaks_off = 0
        self.ends = threading.Event()
        self.port = 0

    @property
    def sources(self) -> list[str]:
        return [f"deb [trusted=yes] http://127.0.0.1:{self.port} ./"]

    def put(self, name: str, version: str, says: str, *, programs: tuple[str, ...] = ()) -> None:
        """Publish a package with these programs, or one of its own name: each says the same, whatever it is asked."""
        root = self.folder / f"{name}-{version.replace(':', '')}"
        for program in programs or (name,):
            file = root / "usr/bin" / program
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"#!/bin/sh\n{says}\n")
            file.chmod(0o755)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <n@example.com>\n"
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(f"{control}Description: of a test\n")
        subprocess.run(["dpkg-deb", "--build", "-Znone", root, f"{root}.deb"], check=True, capture_output=True)
        deb = Path(f"{root}.deb").read_bytes()
        self.files[f"/{name}.deb"] = deb
        entry = f"{control}Filename: ./{name}.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n\n"
        self._index(self.files.get("/Packages", b"") + entry.encode())

    def _index(self, packages: bytes) -> None:
        listed = f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
        self.files["/Packages"] = packages
        self.files["/Release"] = f"Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n{listed}".encode()


@contextmanager
def serve(folder: Path) -> Iterator[Archive]:
    archive = Archive(folder)

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.replace("/./", "/")
            if path.startswith(archive.silent_for):
                archive.ends.wait()
                return
            if archive.breaks_off:
                archive.breaks_off -= 1
                self.close_connection = True
                return
            body = archive.files.get(path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        archive.port = server.server_port
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield archive
        archive.ends.set()
        server.shutdown()
