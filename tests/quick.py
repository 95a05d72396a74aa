"""`make quick`: what one runs before each commit: linters, types, and every test that takes less than a moment.

Those that take longer are in tests/slow.txt. `python -m tests.quick REPORT...` writes it anew, from what a run of all
tests has reported (`PYTEST_ADDOPTS=--junitxml=FILE`, one for each step).
"""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from toolkit.paths import LOGS, ROOT, TOOLS, shown
from toolkit.progress import spell

MOMENT = 0.2  # seconds
SLOW = ROOT / "tests" / "slow.txt"
PYTEST = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider"]
# Side by side, of about the same length: the tests of the chart are about half of all.
REFUSALS = [f"tests/chart/test_{name}.py" for name in ("deployment", "one_port", "refusals", "workers")]
LANES = {
    "tests of the kit, of the app and of the tools, and of what the chart refuses": [
        *(*PYTEST, "tests/kit", "tests/app", "tests/tools", "tests/harness", "tests/dev", "tests/supply"),
        *("tests/workflows", *REFUSALS),
    ],
    "tests of the chart, its rules and dashboards, and of deploys": [
        *(*PYTEST, "tests/chart", *(f"--ignore={file}" for file in REFUSALS)),
        *("tests/deploy", "tests/grafana", "tests/rules"),
    ],
}
LINT = ["make", "--no-print-directory", "lint"]


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def learn(reports: Iterable[Path]) -> list[str]:
    """The tests that take longer, as `file::name`, by reports in JUnit's format."""
    slow = set()
    for report in reports:
        for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314  # written by our own pytest
            if float(case.get("time", "0")) >= MOMENT:
                parts = case.get("classname", "").split(".")
                module = next(
                    n for n in range(len(parts), 0, -1) if (ROOT / Path(*parts[:n]).with_suffix(".py")).exists()
                )
                name = case.get("name", "").partition("[")[0]
                slow.add("::".join([Path(*parts[:module]).with_suffix(".py").as_posix(), *parts[module:], name]))
    return sorted(slow)


def main(arguments: list[str]) -> int:
    if arguments:
        SLOW.write_text(
            "".join(f"{line}\n" for line in learn(map(Path, arguments)) if not line.startswith("tests/e2e/"))
        )
        return 0
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    started = time.monotonic()
    if subprocess.run(LINT, cwd=ROOT, check=False).returncode:
        return 1
    LOGS.mkdir(parents=True, exist_ok=True)
    left_out = [f"--deselect={line}" for line in SLOW.read_text().splitlines()]
    running = {}
    for number, (what, argv) in enumerate(LANES.items()):
        log = LOGS / f"quick-{number}.log"
        with log.open("wb") as file:
            process = subprocess.Popen([*argv, *left_out], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        running[what] = (process, log)
    failed = False
    for what, (process, log) in running.items():
        status = process.wait()
        said = log.read_text(errors="replace").splitlines()
        failed = failed or bool(status)
        for line in said if status else said[-1:]:
            say(line)
        say(f"=== {what}: {f'failed, see {shown(log)}' if status else 'passed'}")
    say(f"=== {spell(time.monotonic() - started)}. `make test` runs the longer ones, too.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
