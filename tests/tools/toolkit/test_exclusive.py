"""One run at a time, among processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.exclusive import exclusive_run
from toolkit.paths import ROOT
from toolkit.process import Failure

HOLDER = """
import sys
from pathlib import Path
from toolkit.exclusive import exclusive_run
with exclusive_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def started(file: Path) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", HOLDER, str(file)]
    return subprocess.Popen(argv, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def holder(file: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock until its input ends."""
    process = started(file)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with holder(file) as first, pytest.raises(Failure, match="Another run"), exclusive_run(file, "Another run."):
        first.kill()
    with exclusive_run(file, "Another run."):  # however it has ended
        pass


def test_without_a_sentence_the_second_waits_for_the_first(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with holder(file) as first:
        second = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(file)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(1)
        first.communicate("")
    assert second.communicate("")[0] == "held\n"
