import io
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from rich.console import Console

from toolkit import progress as subject
from toolkit.progress import Progress, Step, roughly, spell


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3600, "60 min 00 s")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert spell(seconds) == expected


def test_a_line_says_what_for_how_long_and_how_long_it_should_take() -> None:
    step = Step("build kind", 30, detail="linking")
    assert step.line() == "build kind: 0 s of about 30 s — linking"
    assert Step("look").line() == "look: 0 s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "10 s"), (14, "10 s"), (54, "50 s"), (56, "1 min"), (89, "1 min"), (91, "2 min"), (3600, "60 min")],
)
def test_durations_that_are_a_guess(seconds: float, expected: str) -> None:
    assert roughly(seconds) == expected


def begun(seconds: float, expected: float | None = None) -> Step:
    return Step("build kind", expected, started=time.monotonic() - seconds)


def test_an_expectation_that_was_wrong_is_not_repeated() -> None:
    assert begun(29, 30).line() == "build kind: 29 s of about 30 s"
    assert begun(31, 30).line() == "build kind: 31 s, longer than the usual 30 s"


def test_what_is_counted_says_how_much_is_left_by_the_pace_so_far() -> None:
    """Since the counting began, and whatever was expected."""
    step = begun(370, 60)
    step.count(1644, "packages")
    step.counted_from -= 360
    expected = {
        0: "0 of 1,644 packages, 6 min 10 s",
        164: "164 of 1,644 packages, 6 min 10 s",  # too few to tell
        165: "165 of 1,644 packages, 6 min 10 s, about 54 min left",
        822: "822 of 1,644 packages, 6 min 10 s, about 6 min left",
        1600: "1,600 of 1,644 packages, 6 min 10 s, about 10 s left",
        1644: "1,644 of 1,644 packages, 6 min 10 s",
    }
    for step.done, said in expected.items():
        assert step.line() == f"build kind: {said}"
    step.detail = "linking"
    assert step.line() == "build kind: 1,644 of 1,644 packages, 6 min 10 s — linking"


def test_where_there_is_nothing_to_count_nothing_is_expected() -> None:
    step = begun(5, 60)
    step.count(0, "packages")
    assert step.line() == "build kind: 5 s"


@pytest.mark.parametrize("terminal", [True, False])
def test_the_share_is_shown_on_a_terminal_and_elsewhere(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HEARTBEAT", 0.01)
    stream = io.StringIO()
    with (live if terminal else plain)(stream) as progress, progress.step("build kind", 30) as step:
        step.count(3, "packages")
        step.done = 2
        wait_for(lambda: "… build kind: 2 of 3 packages, 1 s, about 10 s left" in stream.getvalue())


def plain(stream: io.StringIO) -> Progress:
    return Progress(Console(file=stream, force_terminal=False, highlight=False, soft_wrap=True))


def live(stream: io.StringIO) -> Progress:
    return Progress(Console(file=stream, force_terminal=True, width=100, highlight=False))


def wait_for(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_plain_lines_where_nothing_can_be_redrawn() -> None:
    stream = io.StringIO()
    with plain(stream) as progress:
        with progress.step("short", 5):
            pass
        with progress.step("long", 90) as step:
            assert stream.getvalue().splitlines()[-1] == "  long (about 1 min 30 s) ..."
            step.detail = "all of it"
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines() == [
        "✓ short 0 s",
        "  long (about 1 min 30 s) ...",
        "✓ long (all of it) 0 s",
    ]
    assert [name for name, _ in progress.finished] == ["short", "long"]


def test_a_long_step_gives_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HEARTBEAT", 0.01)
    stream = io.StringIO()
    with plain(stream) as progress, progress.step("build everything", 10) as step:
        step.detail = "half of it"
        wait_for(lambda: "… build everything: 1 s of about 10 s — half of it" in stream.getvalue())


def test_a_sign_of_life_comes_once_a_heartbeat() -> None:
    """Three looks, a second apart, at a step that is due and at one that is not."""
    stream, now = io.StringIO(), time.monotonic()
    progress = plain(stream)
    progress._running = [Step("slow", started=now - 65), Step("quick", started=now - 5)]
    looks = iter([False, False, False, True])
    progress._stop = cast("threading.Event", SimpleNamespace(wait=lambda _: next(looks)))
    progress._beat()
    assert stream.getvalue() == "  … slow: 1 min 05 s\n"


def test_live_on_a_terminal() -> None:
    stream = io.StringIO()
    with live(stream) as progress:
        with progress.step("build kind", 30) as step:
            step.detail = "linking"
            wait_for(lambda: "… build kind: 0 s of about 30 s — linking" in stream.getvalue())
            assert "(about 30 s) ..." not in stream.getvalue()
        progress.say("a line that stays")
    assert "\x1b[2K" in stream.getvalue()  # what was drawn is taken back
    assert "build kind" in stream.getvalue().rsplit("✓", 1)[1]
    assert "a line that stays" in stream.getvalue()


def test_a_step_that_fails_is_marked() -> None:
    stream = io.StringIO()
    with plain(stream) as progress, pytest.raises(ValueError, match="broken"), progress.step("try"):
        raise ValueError("broken")
    assert stream.getvalue() == "✗ try 0 s\n"


def test_steps_run_side_by_side() -> None:
    stream = io.StringIO()
    both = threading.Barrier(2, timeout=10)

    def work(name: str) -> None:
        with progress.step(name):
            both.wait()

    with live(stream) as progress:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(name for name, _ in progress.finished) == ["one", "two"]
    assert progress._running == []


def test_names_and_details_are_shown_as_they_are() -> None:
    """A bracket is not markup."""
    stream = io.StringIO()
    with plain(stream) as progress, progress.step("bring up [blue] and [/]", 30) as step:
        step.detail = "[1/2]"
    assert stream.getvalue().splitlines() == [
        "  bring up [blue] and [/] (about 30 s) ...",
        "✓ bring up [blue] and [/] ([1/2]) 0 s",
    ]
