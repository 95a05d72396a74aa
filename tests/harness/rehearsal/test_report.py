import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.rehearsal.difference import Difference
from tests.rehearsal.report import Report


@pytest.fixture
def report() -> Report:
    return Report("0" * 40, [])


def shown(report: Report) -> str:
    text = io.StringIO()
    report.show(Console(file=text, width=120))
    return text.getvalue()


def test_a_step_that_fails_is_recorded(report: Report) -> None:
    with report.step("make .venv"):
        pass
    with pytest.raises(ZeroDivisionError), report.step("make [doctor]"):
        raise ZeroDivisionError
    assert [(row["name"], row["pass"]) for row in report.steps] == [("make .venv", True), ("make [doctor]", False)]
    assert all(row["seconds"] >= 0 for row in report.steps)
    last = next(line for line in shown(report).splitlines() if "make [doctor]" in line)
    assert "failed" in last


def test_it_says_in_words_that_nothing_differs(report: Report) -> None:
    report.compared = 123
    assert "Nothing differs: all 123 things" in shown(report)


def test_it_does_not_say_so_where_nothing_was_compared(report: Report) -> None:
    assert "Nothing differs" not in shown(report)


def test_what_differs_is_named_and_only_what_pip_was_given_is_a_fault(report: Report) -> None:
    report.compared = 123
    report.differences = [
        Difference("docker.io", "Debian forky", "28.5", "29.1"),
        Difference("coverage", "PyPI", "7.17.3", "7.17.5"),
    ]
    said = shown(report)
    for word in ("docker.io", "Debian forky", "28.5", "29.1", "coverage", "7.17.5"):
        assert word in said
    assert "Nothing differs" not in said
    assert report.unlocked == ["coverage"]


def test_scripts_read_the_same(report: Report, tmp_path: Path) -> None:
    report.differences = [Difference("docker.io", "Debian forky", "28.5", "29.1")]
    report.write(tmp_path / "report" / "rehearsal.json")
    found = json.loads((tmp_path / "report" / "rehearsal.json").read_text())
    assert found["commit"] == "0" * 40
    assert found["differences"] == [
        {"name": "docker.io", "origin": "Debian forky", "locked": "28.5", "fetched": "29.1"}
    ]
