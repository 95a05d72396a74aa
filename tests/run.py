"""`make test`: every check in an order that finds mistakes soon.

What measures time, or is soon done, runs in the foreground. Beside it, giving way to it, images and tools are built,
and then those tests run that need them and no cluster. Each step says what it does and how long it took. The end-to-end
tests come last, so pytest's closing line does too.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from offline import engine
from tests.rules import programs
from toolkit import apt, background, browser, valkey_programs
from toolkit.paths import LOGS, ROOT, TOOLS, shown
from toolkit.process import Failure
from toolkit.progress import Progress, spell

PYTEST = [sys.executable, "-m", "pytest", "--quiet", "--durations=5"]
COVERAGE = ["--cov", "--cov-report=term:skip-covered", "--cov-fail-under=97"]
LANES = ["--numprocesses=2"]
BESIDE_LOG = LOGS / "beside.log"
BESIDE: dict[str, list[str]] = {
    "Images of the cluster": [sys.executable, "-m", "k8s", "images"],
    "Judges of the chart": [sys.executable, "-m", "tests.judges.tools"],
    "Tools of the delivery": [sys.executable, "-m", "delivery", "tools"],
    "Tests of the chart and of deploys": [*PYTEST, "tests/chart", "tests/deploy"],
    "Tests of what judges an image, and of make dev": [*PYTEST, "tests/supply", "tests/dev"],
    "Tests of the rules, alerts and runbooks": [*PYTEST, "tests/rules"],
    "Libraries whose metrics others use": [sys.executable, "-m", "tests.libraries.environment"],
    "Tests of the dashboards, and of others' metrics, with a real Prometheus": [
        *(*PYTEST, "tests/grafana", "tests/libraries"),
    ],
    "What the judges say of the chart": [*PYTEST, "tests/judges"],
    "A new service, and its updates": [*PYTEST, "tests/new"],
}


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


@contextmanager
def beside() -> Iterator["subprocess.Popen[bytes]"]:
    """Run the steps of BESIDE in the background. Ended with us, whatever happens."""
    LOGS.mkdir(parents=True, exist_ok=True)
    with BESIDE_LOG.open("wb") as log:
        process = background.start([sys.executable, "-m", "tests.run", "beside"], log=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def step(what: str, argv: list[str]) -> None:
    """Run one step in the foreground; end the whole run with its exit status when it fails."""
    say(f"\n=== {what}")
    started = time.monotonic()
    status = subprocess.run(argv, cwd=ROOT, check=False).returncode
    say(f"=== {what}: {'done' if status == 0 else f'failed (exit {status})'} after {spell(time.monotonic() - started)}")
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


def wait_for(process: "subprocess.Popen[bytes]") -> None:
    """Wait for what runs beside, showing what it says, so that a long wait is not a silent one."""
    say(f"\n=== What has run beside that ({shown(BESIDE_LOG)})")
    started = time.monotonic()
    with BESIDE_LOG.open(encoding="utf-8") as log:
        while True:
            line = log.readline()
            if line:
                say(line.rstrip())
            elif process.poll() is not None:
                break
            else:
                time.sleep(0.2)
        sys.stdout.write(log.read())
    say(f"=== What has run beside that: waited {spell(time.monotonic() - started)}")
    if process.returncode:
        sys.exit(process.returncode)


def main(arguments: list[str]) -> None:
    if arguments == ["beside"]:
        for what, argv in BESIDE.items():
            step(what, argv)
        return
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    started = time.monotonic()
    try:
        provide_postgresql()
        provide_valkey()
        provide_prometheus()
        provide_chromium()
        provide_engine()
    except Failure as error:
        sys.exit(str(error))
    with beside() as others:
        step("Linters, formatter, types", ["make", "--no-print-directory", "lint"])
        step("Pipelines, versions and locks", ["make", "--no-print-directory", "workflows"])
        step("Unit and integration tests", [*PYTEST, "tests/kit", "tests/app", *COVERAGE])
        step("Attempts of a stranger at the service", [*PYTEST, "tests/attack"])
        step("Tests of the cluster's tools, and of the tests' own", [*PYTEST, "tests/tools", "tests/harness"])
        wait_for(others)
    say(f"=== {spell(time.monotonic() - started)} so far; the end-to-end tests take about 45 minutes")
    step_last = [sys.executable, "-m", "pytest", "--verbose", *LANES, "tests/e2e"]
    # In place of this process: what pytest prints last is what `make test` prints last.
    sys.stdout.flush()
    os.execv(step_last[0], step_last)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
