import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.toolkit import cpu_share
from toolkit import background
from toolkit.paths import ROOT

AUTOGROUP = Path("/proc/self/autogroup")

linux = pytest.mark.skipif(sys.platform != "linux", reason="how Linux shares out the CPU")
autogroups = pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel has no autogroups")


def said(argv: list[str], log: Path) -> str:
    """What a command says that runs in the background."""
    with log.open("wb") as out:
        assert background.start(argv, log=out).wait() == 0
    return log.read_text()


def session_nice(autogroup: str) -> int:
    return int(autogroup.rpartition("nice")[2])


@linux
def test_a_busy_background_leaves_the_cpu_to_the_foreground() -> None:
    """With `nice` alone the foreground gets the half of it where autogroups are on."""
    share = cpu_share.foreground_share(cpu_share.in_the_background, seconds=0.5)
    sys.stdout.write(f"the foreground gets {share:.1%}\n")
    assert share >= 0.85


def test_children_have_the_lowest_priority_too(tmp_path: Path) -> None:
    assert said(["sh", "-c", "sh -c nice; true"], tmp_path / "log") == "19\n"


@linux
def test_children_run_when_nobody_else_in_their_session_wants_to(tmp_path: Path) -> None:
    print_policy = f"'{sys.executable}' -c 'import os; print(os.sched_getscheduler(0) == os.SCHED_IDLE)'; true"
    assert said(["sh", "-c", print_policy], tmp_path / "log") == "True\n"


@autogroups
def test_the_session_gives_way_to_other_sessions(tmp_path: Path) -> None:
    before = AUTOGROUP.read_text()
    assert session_nice(said(["cat", str(AUTOGROUP)], tmp_path / "log")) == 19
    assert AUTOGROUP.read_text() == before


@autogroups
def test_a_session_that_others_are_in_is_left_as_it_is() -> None:
    """By hand from a terminal: what else runs there does not give way."""
    script = 'cat "$2"; "$1" -m toolkit.background true; cat "$2"'
    terminal = ["sh", "-c", script, "sh", sys.executable, str(AUTOGROUP)]
    done = subprocess.run(terminal, cwd=ROOT, start_new_session=True, check=True, capture_output=True, text=True)
    assert [session_nice(line) for line in done.stdout.splitlines()] == [0, 0]


def test_the_command_is_the_process_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "log").open("wb") as log:
        process = background.start(["sh", "-c", "echo $$; pwd; exit 3"], log=log)
    assert process.wait() == 3
    assert (tmp_path / "log").read_text() == f"{process.pid}\n{ROOT}\n"


def test_all_of_it_can_be_ended() -> None:
    process = background.start(["sleep", "60"])
    assert os.getpgid(process.pid) == os.getsid(process.pid) == process.pid
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["no-such-program"], "`no-such-program` cannot be run: No such file or directory."),
        ([], "usage: python -m toolkit.background COMMAND [ARGUMENT ...]"),
    ],
)
def test_what_cannot_be_run_is_a_sentence(argv: list[str], sentence: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolkit.background", *argv], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"{sentence}\n")


@autogroups
def test_a_request_that_comes_too_soon_after_another_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users without rights the kernel takes one in a tenth of a second."""
    answers = [BlockingIOError(), BlockingIOError(), None]

    class Busy:
        def write_text(self, text: str) -> None:
            assert text == "19"
            if error := answers.pop(0):
                raise error

    monkeypatch.setattr(background, "AUTOGROUP", Busy())
    background._lower_session()
    assert not answers
