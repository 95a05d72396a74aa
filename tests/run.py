"""`make test`: every check in an order that finds mistakes soon.

What measures time, or is soon done, runs in the foreground. Beside it, giving way to it, images and tools are built,
and then those tests run that need them and no cluster; whoever is done first helps the other. Each step says what it
does and how long it took. The end-to-end tests come last, so pytest's closing line does too.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from offline import engine
from tests.rules import programs
from toolkit import apt, background, browser, valkey_programs
from toolkit.paths import LOGS, ROOT, TOOLS, shown
from toolkit.process import Failure
from toolkit.progress import Progress, spell

PYTEST = [sys.executable, "-m", "pytest", "--quiet", "--durations=5"]
COVERAGE = ["-p", "tests.support.coverage"]
LANES = ["--numprocesses=2"]
BESIDE_LOG = LOGS / "beside.log"
# What needs none of the tools in build/bin: with empty caches they are built meanwhile.
FIRST: dict[str, list[str]] = {
    "Linters, formatter, types": ["make", "--no-print-directory", "lint"],
    "Pipelines, versions and locks": ["make", "--no-print-directory", "workflows"],
    "Unit and integration tests": [*PYTEST, "tests/kit", "tests/app", *COVERAGE],
    "Attempts of a stranger at the service": [*PYTEST, "tests/attack"],
}
# What the tests beside, and the cluster, need.
PROVIDE: dict[str, list[str]] = {
    "Images of the cluster": [sys.executable, "-m", "k8s", "images"],
    "Judges of the chart": [sys.executable, "-m", "tests.judges.tools"],
    "Tools of the delivery": [sys.executable, "-m", "delivery", "tools"],
    "Libraries whose metrics others use": [sys.executable, "-m", "tests.libraries.environment"],
}
BESIDE: dict[str, list[str]] = {
    "Tests of the chart and of deploys": [*PYTEST, "tests/chart", "tests/deploy"],
    "Tests of what judges an image, and of make dev": [*PYTEST, "tests/supply", "tests/dev"],
    "Tests of the rules, alerts and runbooks": [*PYTEST, "tests/rules"],
    "What the judges say of the chart": [*PYTEST, "tests/judges"],
    "A new service, and its updates": [*PYTEST, "tests/new"],
    "Tests of the dashboards, and of others' metrics, with a real Prometheus": [
        *(*PYTEST, "tests/grafana", "tests/libraries"),
    ],
    "Tests of the cluster's tools, and of the tests' own": [*PYTEST, "tests/tools", "tests/harness"],
}
# Of the steps that nobody has begun, the foreground takes the last, and the background the first.
Steps = deque[tuple[str, list[str]]]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


class Beside(threading.Thread):
    """Does PROVIDE in the background, then what is to be done of BESIDE. `provided` is set when it has done the one."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(daemon=True)
        self._steps = steps
        self._process: subprocess.Popen[bytes] | None = None
        self.provided = threading.Event()
        self.status = 0

    def run(self) -> None:
        with BESIDE_LOG.open("ab") as log:
            for what, argv in PROVIDE.items():
                self._do(what, argv, log)
            self.provided.set()
            for what, argv in taken(self._steps.popleft):
                self._do(what, argv, log)

    def _do(self, what: str, argv: list[str], log: IO[bytes]) -> None:
        """After one that has failed nothing more is begun, here nor in the foreground."""
        if self.status:
            return
        started = time.monotonic()
        log.write(f"\n=== {what}\n".encode())
        log.flush()
        self._process = background.start(argv, log=log)
        self.status = self._process.wait()
        if self.status:
            self._steps.clear()
        log.write(f"{ended(what, self.status, started)}\n".encode())
        log.flush()

    def end(self) -> None:
        """Whatever happens in the foreground, nothing goes on here."""
        self.status = self.status or 1
        while self.is_alive():
            if self._process and self._process.poll() is None:
                with suppress(ProcessLookupError):  # it has ended, and `_do` is about to learn it
                    os.killpg(self._process.pid, signal.SIGTERM)
            self.join(timeout=0.2)


def taken(take: Callable[[], tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
    """Step by step, until there is none."""
    with suppress(IndexError):
        while True:
            yield take()


def ended(what: str, status: int, started: float) -> str:
    how = "done" if status == 0 else f"failed (exit {status})"
    return f"=== {what}: {how} after {spell(time.monotonic() - started)}"


@contextmanager
def beside(steps: Steps) -> Iterator[Beside]:
    LOGS.mkdir(parents=True, exist_ok=True)
    BESIDE_LOG.write_bytes(b"")
    others = Beside(steps)
    others.start()
    try:
        yield others
    finally:
        others.end()


def step(what: str, argv: list[str], path: str | None = None) -> None:
    """Run one step in the foreground, with our PATH or this one; end the whole run with its exit status if it fails."""
    say(f"\n=== {what}")
    started = time.monotonic()
    environment = {**os.environ, **({"PATH": path} if path else {})}
    status = subprocess.run(argv, cwd=ROOT, check=False, env=environment).returncode
    say(ended(what, status, started))
    if status:
        sys.exit(status)


def provide_postgresql() -> None:
    """The unit tests start a server of their own; on Debian as root its programs are installed."""
    there = shutil.which("pg_ctl") or list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not there and apt.may_install():
        say("\n=== Install PostgreSQL, which the unit tests start for themselves")
        apt.install(["postgresql"])


def provide_valkey() -> None:
    """Likewise; a Debian that has no Valkey gets it unpacked beside the system."""
    if valkey_programs.server() is None and apt.may_install():
        say("\n=== Fetch Valkey, which the unit tests start for themselves")
        valkey_programs.obtain()


def provide_prometheus() -> None:
    """Those of the cluster's images, and Alertmanager; compiled where Debian's packages cannot be fetched."""
    if not programs.there():
        say("\n=== Fetch or build Prometheus and Alertmanager, which judge the rules")
        programs.obtain()


def provide_chromium() -> None:
    """Likewise."""
    if not browser.program() and apt.may_install():
        say("\n=== Install Chromium, in which the tests look at the API's documentation and the drawn dashboards")
        apt.install(["chromium"])


def provide_engine() -> None:
    """Here and not with the images: the engine and all that runs in it would give way to everybody, as they do."""
    with Progress() as progress:
        engine.ensure(progress)


def follow(others: Beside, log: IO[str], until: Callable[[], bool]) -> None:
    """Show what the background says until then, so that a long wait is not a silent one; end with it if it fails."""
    say(f"\n=== What runs beside that ({shown(BESIDE_LOG)})")
    started = time.monotonic()
    while not until():
        line = log.readline()
        if line:
            say(line.rstrip())
        else:
            time.sleep(0.2)
    sys.stdout.write(log.read())
    say(f"=== What runs beside that: waited {spell(time.monotonic() - started)}")
    if others.status:
        sys.exit(others.status)


def main() -> None:
    without_tools = os.environ["PATH"]
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{without_tools}"
    started = time.monotonic()
    try:
        provide_postgresql()
        provide_valkey()
        provide_prometheus()
        provide_chromium()
        provide_engine()
    except Failure as error:
        sys.exit(str(error))
    steps = Steps(BESIDE.items())
    with beside(steps) as others, BESIDE_LOG.open(encoding="utf-8") as log:
        for what, argv in FIRST.items():
            step(what, argv, without_tools)
        if not others.provided.is_set():
            follow(others, log, lambda: others.provided.is_set() or not others.is_alive())
        for what, argv in taken(steps.pop):
            step(what, argv)
        follow(others, log, lambda: not others.is_alive())
    say(f"=== {spell(time.monotonic() - started)} so far; the end-to-end tests take 20 to 40 minutes")
    step_last = [sys.executable, "-m", "pytest", "--verbose", *LANES, "-m", "not nightly", "tests/e2e"]
    # In place of this process: what pytest prints last is what `make test` prints last.
    sys.stdout.flush()
    os.execv(step_last[0], step_last)  # noqa: S606


if __name__ == "__main__":
    main()
