"""What `make test` does in the background, and how the foreground helps."""

import sys
from pathlib import Path

import pytest

from tests import run

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(run, "LOGS", tmp_path)
    monkeypatch.setattr(run, "BESIDE_LOG", tmp_path / "beside.log")
    return tmp_path / "beside.log"


def says(word: str) -> list[str]:
    return [sys.executable, "-c", f"print('{word}')"]


def test_what_is_needed_comes_first_and_then_all_steps(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PROVIDE", {"an image": says("built")})
    steps = run.Steps([("one", says("first")), ("two", says("second"))])
    with run.beside(steps) as others:
        others.join()
        assert others.provided.is_set()
        assert others.status == 0
    said = log.read_text(encoding="utf-8")
    assert [said.index(word) for word in ("built", "first", "second")] == sorted(
        said.index(word) for word in ("built", "first", "second")
    )
    assert said.count(": done after ") == 3


def test_each_step_is_done_once_whoever_takes_it(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The foreground takes from the end what the background has not begun."""
    monkeypatch.setattr(run, "PROVIDE", {})
    steps = run.Steps([("here", SLEEPS), ("there", says("x"))])
    with run.beside(steps) as others:
        while not log.read_bytes():
            others.join(timeout=0.05)
        assert [what for what, _ in run.taken(steps.pop)] == ["there"]
    assert "=== here" in log.read_text(encoding="utf-8")


def test_after_a_failure_nothing_more_is_begun(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "PROVIDE", {"an image": [sys.executable, "-c", "raise SystemExit('no disk')"]})
    steps = run.Steps([("one", says("first"))])
    with run.beside(steps) as others, log.open(encoding="utf-8") as lines:
        with pytest.raises(SystemExit) as ended:
            run.follow(others, lines, lambda: not others.is_alive())
        assert not steps
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert "no disk" in said
    assert "=== an image: failed (exit 1) after " in said
    assert "first" not in said


def test_the_end_of_the_foreground_ends_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PROVIDE", {"an image": SLEEPS, "another": SLEEPS})
    with run.beside(run.Steps([("one", SLEEPS)])) as others:
        pass
    assert not others.is_alive()
