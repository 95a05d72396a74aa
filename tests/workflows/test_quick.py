"""`make quick` leaves out what it says that it leaves out."""

import re
from pathlib import Path

from tests import quick
from toolkit.paths import ROOT

NO_TESTS = {"tests/files", "tests/probe", "tests/rehearsal", "tests/support"}
REPORT = """<testsuites><testsuite>
  <testcase classname="tests.workflows.test_quick" name="test_one[a::b]" time="0.5" />
  <testcase classname="tests.workflows.test_quick.TestMore" name="test_two" time="0.2" />
  <testcase classname="tests.workflows.test_quick" name="test_three" time="0.19" />
</testsuite></testsuites>"""


def test_what_takes_longer_is_learnt_from_a_run(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    here = "tests/workflows/test_quick.py"
    assert quick.learn([tmp_path / "report.xml"]) == [f"{here}::TestMore::test_two", f"{here}::test_one"]


def test_what_is_left_out_is_there() -> None:
    for line in quick.SLOW.read_text().splitlines():
        file, *_, name = line.split("::")
        assert re.search(rf"def {name}\(", (ROOT / file).read_text()), f"{line} is no more: take it from tests/slow.txt"


def test_every_other_folder_of_tests_is_in_a_lane() -> None:
    lanes = {word for argv in quick.LANES.values() for word in argv}
    folders = {each.parent.relative_to(ROOT).as_posix() for each in (ROOT / "tests").glob("*/__init__.py")}
    own = {"tests/attack", "tests/e2e", "tests/judges", "tests/libraries", "tests/new", *NO_TESTS}
    assert folders - lanes == own
