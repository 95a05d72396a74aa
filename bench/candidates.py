"""The stacks that are compared, each a process on one core with one worker."""

import http.client
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app import __version__
from bench.load import on_core

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / "build/bench-venv/bin/python"
PORT, MANAGEMENT_PORT = 8765, 8766
START_SECONDS = 30


@dataclass(frozen=True)
class Candidate:
    name: str
    what: str
    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    cases: tuple[str, ...] = ("json", "redirect")
    ready: str = f"http://127.0.0.1:{PORT}/"  # answers 200 once it serves


@dataclass(frozen=True)
class Running:
    url: str
    pid: int
    start_s: float
    start_cpu_s: float

    def cpu_s(self) -> float:
        """CPU time used so far, by the process and by the system for it."""
        return _cpu_seconds(self.pid)

    def rss_mib(self) -> float:
        """Memory held now, shared libraries included."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


def library_stack(name: str, what: str, *arguments: str, **others: Any) -> Candidate:
    return Candidate(name, what, ["-m", f"bench.apps.{name}", str(PORT), __version__, *arguments], **others)


@contextmanager
def running(candidate: Candidate, log: Path) -> Iterator[Running]:
    """Start it and wait until it is ready; `log` gets what it prints, as a container's log would."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **candidate.environment}
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*on_core(0), str(PYTHON), *candidate.arguments], env=environment, stdout=out, stderr=out, cwd=log.parent
        )
    try:
        while not _answers(candidate.ready):
            if process.poll() is not None or time.perf_counter() - started > START_SECONDS:
                raise SystemExit(f"{candidate.name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.002)
        seconds = time.perf_counter() - started
        yield Running(f"http://127.0.0.1:{PORT}", process.pid, seconds, _cpu_seconds(process.pid))
    finally:
        process.terminate()
        process.wait(timeout=60)


def _cpu_seconds(pid: int) -> float:
    """utime and stime, fields 14 and 15 of proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=5)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
