"""The environment of the libraries, made by their lock: none of theirs is among our own packages."""

import subprocess
import sys
from pathlib import Path

import httpx

from requirements.install import install
from tests.support.processes import until
from toolkit.exclusive import exclusive_run
from toolkit.paths import BUILD, ROOT
from toolkit.ports import free_port
from toolkit.process import run

LOCK = ROOT / "requirements" / "libraries.txt"
VENV = BUILD / "libraries-venv"
APPS = Path(__file__).with_name("apps.py")


def python() -> Path:
    """Its Python. Made anew when the lock changes; takes half a minute. Raises Failure."""
    made = VENV / ".made"
    wanted = LOCK.read_bytes()
    BUILD.mkdir(exist_ok=True)
    with exclusive_run(BUILD / "libraries-venv.lock"):
        if not made.exists() or made.read_bytes() != wanted:
            run([sys.executable, "-m", "venv", "--clear", VENV], log="libraries")
            install(LOCK, VENV, log="libraries")
            made.write_bytes(wanted)
    return VENV / "bin" / "python"


class App:
    """An app that counts its requests by a library, on a port of its own."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.address = f"127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        environment = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
        self.process = subprocess.Popen([python(), "-I", APPS, library, port], env=environment)
        self.client = httpx.Client(base_url=f"http://{self.address}", timeout=30)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the app of {self.library} has ended"
        try:
            return self.client.get("/metrics", follow_redirects=True).status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, *items: str) -> list[int]:
        return [self.client.get(f"/items/{item}").status_code for item in items]

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)
