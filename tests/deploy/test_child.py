"""Real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from delivery.deploy import child
from delivery.deploy.child import run_watched
from delivery.deploy.signals import Interrupted, heeded
from toolkit import paths, process
from toolkit.process import CommandFailed, Failure

FOREVER = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]


@pytest.fixture(autouse=True)
def own_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "LOGS", tmp_path)
    monkeypatch.setattr(paths, "LOGS", tmp_path)
    monkeypatch.setattr(child, "POLL_SECONDS", 0.1)


def nothing() -> None:
    pass


def test_what_it_says_and_how_it_ends() -> None:
    assert run_watched(["sh", "-c", "echo said; echo aside >&2"], log="a", look=nothing) == "said\naside\n"
    with pytest.raises(CommandFailed) as failed:
        run_watched(["sh", "-c", "echo why; exit 3"], log="a", look=nothing)
    assert (failed.value.code, failed.value.said) == (3, "why\n")


def test_looked_at_meanwhile() -> None:
    looks: list[float] = []
    run_watched(["sleep", "0.5"], log="a", look=lambda: looks.append(time.monotonic()))
    assert len(looks) >= 2


def test_what_is_seen_ends_it(tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    script = ["sh", "-c", f"trap 'touch {mark}; exit 0' TERM; while :; do sleep 0.05; done"]

    def look() -> None:
        raise Failure("hopeless")

    with pytest.raises(Failure, match="hopeless"):
        run_watched(script, log="a", look=look)
    assert mark.exists(), "it was not given the time to leave things in order"


def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "END_SECONDS", 0.3)
    stubborn = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert stubborn.stdout
    with stubborn.stdout:
        stubborn.stdout.readline()
        child.end(stubborn)
    assert stubborn.returncode == -signal.SIGKILL


def test_a_signal_ends_it_and_the_next_one_is_only_heard() -> None:
    heard: list[str] = []
    with heeded(heard.append):
        with pytest.raises(Interrupted) as came:
            run_watched(FOREVER, log="a", look=lambda: signal.raise_signal(signal.SIGTERM))
        assert (came.value.number, str(came.value)) == (signal.SIGTERM, "SIGTERM")
        signal.raise_signal(signal.SIGINT)
    assert heard == ["SIGINT again: the way back is under way and goes to its end."]


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with heeded(print):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_terminal_s_interrupt_does_not_reach_it() -> None:
    """It has a session of its own, and so is in no process group of the terminal's."""
    script = "import os; print(os.getsid(0) == os.getpid())"
    assert run_watched([sys.executable, "-c", script], log="a", look=nothing) == "True\n"
