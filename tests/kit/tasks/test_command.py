"""A service without tasks has no worker."""

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


@pytest.mark.parametrize("command", ["work", "tasks"])
def test_a_service_without_tasks_says_so(command: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, command],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "plain has no tasks: none of its domains has any.\n"
