"""What a service says that has no tasks, or schedules that could never run."""

import subprocess
import sys
from pathlib import Path

import pytest

SERVICE = """
import sys
from pathlib import Path

from keel.cli import main
from keel.product import Product
from keel.service import Service

PLAIN = Product(name="plain", title="Plain", version="1.0.0", package="plain", migrations=Path())
sys.exit(main(Service(PLAIN, [])))
"""

NEVER = """
from pathlib import Path

from keel import boot
from keel.domain import Domain, Feature, NoSettings
from keel.product import Product
from keel.service import Service
from keel.tasks.run import Run
from keel.tasks.task import Empty, Schedule, Task

CLEAN, COUNT, SEND = (Task(name=name, payload=Empty) for name in ("clean", "count", "send"))


async def handler(payload: Empty, run: Run) -> None:
    pass


class Nightly(Feature):
    tasks = {CLEAN: handler, COUNT: handler, SEND: handler}
    schedules = [
        Schedule(task=CLEAN, cron="0 0 31 2 *"),
        Schedule(task=COUNT, cron="0 0 * * *"),
        Schedule(task=SEND, cron="0 0 */31 * MON#5"),
    ]

    def __init__(self, parts, settings):
        pass


NIGHTLY = Domain(name="nightly", settings=NoSettings, start=Nightly)
PLAIN = Product(name="plain", title="Plain", version="1.0.0", package="plain", migrations=Path())
boot.main(Service(PLAIN, [NIGHTLY]))
"""


def ran(service: str, command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command of a service that is written as a program."""
    return subprocess.run(
        [sys.executable, "-c", service, command],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["work", "tasks"])
def test_a_service_without_tasks_says_so(command: str, tmp_path: Path) -> None:
    done = ran(SERVICE, command, tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "plain has no tasks: none of its domains has any.\n"


@pytest.mark.parametrize("command", ["serve", "work", "openapi"])
def test_schedules_that_could_never_run_are_told_all_at_once(command: str, tmp_path: Path) -> None:
    """In sentences, with the exit code of a configuration that is wrong: no traceback."""
    done = ran(NEVER, command, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "The configuration is not valid:",
        "  The schedule of the task clean: '0 0 31 2 *' is no cron expression: Bad day-of-month.",
        "  The schedule of the task send: '0 0 */31 * MON#5' never comes.",
    ]
