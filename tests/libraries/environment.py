"""The environment of the libraries, made by their lock: none of theirs is among our own packages."""

import subprocess
import sys
from pathlib import Path

import httpx
import yaml

from requirements.install import install
from tests.rules import programs
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
    """An app that counts its requests by a library, on a port of its own; its metrics are at the address `scraped`."""

    def __init__(self, library: str, **variables: str) -> None:
        self.library = library
        self.address = self.scraped = f"127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        environment = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http", **variables}
        self.process = subprocess.Popen([python(), "-I", APPS, library, port], env=environment)
        self.client = httpx.Client(base_url=f"http://{self.address}", timeout=30)
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the app of {self.library} has ended"
        try:
            return self.client.get("/metrics", follow_redirects=True).status_code in {200, 404}
        except httpx.TransportError:
            return False

    def ask(self, *items: str) -> list[int]:
        return [self.client.get(f"/items/{item}").status_code for item in items]

    def stop(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=30)


class PushingApp(App):
    """An app that pushes its metrics to an OpenTelemetry collector beside it, as a sidecar is, which is scraped.

    The collector is Jaeger's program, which has the receiver and the exporter that most have.
    """

    def __init__(self, library: str, directory: Path) -> None:
        received, scraped = (f"127.0.0.1:{free_port()}" for _ in range(2))
        pipeline = {"receivers": ["otlp"], "exporters": ["prometheus"]}
        config = {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": received}}}},
            "exporters": {"prometheus": {"endpoint": scraped}},
            "service": {"pipelines": {"metrics": pipeline}, "telemetry": {"metrics": {"level": "none"}}},
        }
        file = directory / f"collector-{scraped.rpartition(':')[2]}.yaml"
        file.write_text(yaml.safe_dump(config))
        with file.with_suffix(".log").open("wb") as log:
            command = [*programs.command("jaeger"), f"--config={file}"]
            self.collector = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        super().__init__(
            library,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"http://{received}/v1/metrics",
            OTEL_METRIC_EXPORT_INTERVAL="1000",
        )
        self.scraped = scraped

    def stop(self) -> None:
        super().stop()
        self.collector.terminate()
        self.collector.wait(timeout=30)


if __name__ == "__main__":
    python()
