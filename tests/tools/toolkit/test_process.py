import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit import paths
from toolkit.process import LAST_LINES, CommandFailed, Failure, log_file, output, run, succeeds

TALKS = 'import sys\nfor n in range(40): print("line", n, file=sys.stderr if n % 2 else sys.stdout, flush=True)\n'


def test_output_is_standard_output_alone() -> None:
    assert output(["sh", "-c", "echo said; echo aside >&2"]) == "said\n"


def test_a_failing_child_shows_its_last_lines_and_where_the_log_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", TALKS + "sys.exit(3)"], log="talks")
    message = str(caught.value)
    assert "exit 3" in message
    shown = [line.strip() for line in message.splitlines() if line.startswith("  line")]
    assert shown == [f"line {n}" for n in range(40 - LAST_LINES, 40)]
    assert message.endswith(": log/talks.log")
    log = (tmp_path / "log" / "talks.log").read_text()
    assert log.startswith("$ ")
    assert [line for line in log.splitlines() if line.startswith("line ")] == [f"line {n}" for n in range(40)]


def test_the_last_lines_are_the_failing_child_s_own() -> None:
    run(["echo", "of the one before"], log="shared")
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", "echo mine; exit 1"], log="shared")
    assert caught.value.said == "mine\n"
    assert "of the one before" not in str(caught.value)


def test_a_log_keeps_what_was_there(logs: Path) -> None:
    run(["echo", "first"], log="kept")
    run(["echo", "second"], log="kept")
    assert (logs / "kept.log").read_text() == "$ echo first\nfirst\n$ echo second\nsecond\n"


def test_each_line_is_told_as_it_comes(tmp_path: Path, logs: Path) -> None:
    """The child goes on only when its first line was heard."""
    heard: list[str] = []

    def hear(line: str) -> bool:
        heard.append(line)
        (tmp_path / "heard").touch()
        return line == "share"

    script = f"echo share; while [ ! -e {tmp_path}/heard ]; do sleep 0.01; done; echo word >&2; echo; exit 3"
    with pytest.raises(CommandFailed) as caught:
        run(["timeout", "10", "sh", "-c", script], log="heard", each_line=hear)
    assert heard == ["share", "word", ""]
    assert (caught.value.code, caught.value.said) == (3, "word\n\n")
    assert (logs / "heard.log").read_text().endswith("\nword\n\n")


@pytest.mark.timeout(20)
def test_a_child_that_is_listened_to_ends_when_we_are_to_end() -> None:
    """As with SIGTERM, which nobody sends to the child."""

    def end(_: str) -> bool:
        raise SystemExit

    with pytest.raises(SystemExit):
        run(["sh", "-c", "echo begun; exec sleep 100"], log="ended", each_line=end)


def test_output_that_fails_shows_what_went_to_standard_error() -> None:
    with pytest.raises(CommandFailed) as caught:
        output(["sh", "-c", "echo result; echo reason >&2; exit 4"])
    assert caught.value.code == 4
    assert "  reason" in str(caught.value)
    assert "  result" not in str(caught.value)


def test_output_that_fails_without_a_word_to_standard_error_shows_the_rest() -> None:
    with pytest.raises(CommandFailed, match="  result"):
        output(["sh", "-c", "echo result; exit 4"])


def test_a_long_command_is_shortened() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(["false", "x" * 500], log="long")
    assert max(len(line) for line in str(caught.value).splitlines()) < 220


EVERY_WAY = [
    output,
    lambda argv: run(argv, log="any"),
    lambda argv: run(argv, log="any", each_line=lambda _: False),
]


@pytest.mark.parametrize("call", EVERY_WAY)
def test_a_missing_program_names_make_doctor(call: Callable[[list[str]], object]) -> None:
    with pytest.raises(Failure, match=r"no-such-program.*make doctor"):
        call(["no-such-program", "--version"])


@pytest.mark.parametrize("call", EVERY_WAY)
def test_a_program_that_may_not_be_executed_is_a_sentence_too(
    call: Callable[[list[str]], object], tmp_path: Path
) -> None:
    broken = tmp_path / "kind"
    broken.write_text("not a program")
    broken.chmod(0o644)
    with pytest.raises(Failure, match="kind"):
        call([str(broken)])


@pytest.mark.parametrize("call", EVERY_WAY)
def test_a_child_that_reads_gets_the_end_at_once(call: Callable[[list[str]], object]) -> None:
    """Whatever our own standard input is: here a pipe that nobody ever closes."""
    reading, writing = os.pipe()
    keep = os.dup(0)
    os.dup2(reading, 0)
    try:
        call(["timeout", "10", "cat"])
    finally:
        os.dup2(keep, 0)
        for descriptor in (reading, writing, keep):
            os.close(descriptor)


def test_what_goes_in_by_standard_input_is_not_in_the_log(logs: Path) -> None:
    run(["sh", "-c", "wc -c"], log="secret", stdin="hunter2 \N{SNOWMAN}")
    log = (logs / "secret.log").read_text()
    assert log.splitlines()[-1].strip() == "11"  # it arrived, as UTF-8
    assert "hunter2" not in log


def test_the_environment_is_added_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OURS", "1")
    assert output(["sh", "-c", "echo $OURS $GIVEN"], env={"GIVEN": "2"}) == "1 2\n"
    run(["sh", "-c", "echo $OURS $GIVEN"], log="any", env={"GIVEN": "2"}, each_line=lambda _: False)
    assert log_file("any").read_text().splitlines()[-1] == "1 2"


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert output(["printf", "\\377ok"]) == "�ok"
    with pytest.raises(CommandFailed, match="ok"):
        run(["sh", "-c", "printf '\\377ok'; exit 1"], log="bytes")
    with pytest.raises(CommandFailed, match="ok"):
        run(["sh", "-c", "printf '\\377ok'; exit 1"], log="bytes", each_line=lambda _: False)


def test_succeeds() -> None:
    assert succeeds(["true"])
    assert not succeeds(["false"])
    assert not succeeds(["no-such-program"])
