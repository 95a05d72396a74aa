"""How much of the app and the kit the tests run."""

import re
import subprocess
import sys

from tests.support.coverage import SETTINGS
from toolkit.paths import ROOT


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "--quiet", "-p", "tests.support.coverage", *arguments]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_too_little_fails_and_says_what_was_not_run() -> None:
    done = run("tests/kit/test_masking.py")
    assert " passed in " in done.stdout
    assert done.returncode == 1
    said = re.search(r"Tests ran ([\d.]+) % of the lines and branches, and 97 % is asked", done.stdout)
    assert said
    assert 0 < float(said[1]) < SETTINGS["fail-under"]
    assert re.search(r"^kit/keel/server\.py .*, \d+-\d+", done.stdout, re.MULTILINE)
    assert "kit/keel/settings/masking.py" not in done.stdout  # all of it was run
    assert "kit/keel/serve.py" not in done.stdout  # not asked for


def test_what_was_imported_before_cannot_be_measured() -> None:
    done = run("-p", "keel.settings", "tests/kit/test_masking.py")
    assert "Imported before their coverage could be measured: keel, keel." in done.stderr
    assert done.returncode == 4  # pytest's, for how it was called
