"""What a service made in a test is asked to do."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from toolkit.paths import BUILD

MakeService = Callable[..., Path]
# The environment of this checkout has all that a service's own has.
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "HOME": os.environ.get("HOME", "/"),
    "MYPY_CACHE_DIR": str(BUILD / "mypy-new"),  # what is of the libraries is the same in all
}


def run(folder: Path, *command: str) -> str:
    """Run a command in a service's folder; fails with all it said."""
    done = subprocess.run(command, check=False, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
