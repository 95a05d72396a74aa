"""A secret is found wherever in the history it is."""

from pathlib import Path

import pytest

from tests.judges.history import PLANTED, commit, git, look, plant
from tests.judges.tools import Tools
from toolkit.process import output

pytestmark = pytest.mark.timeout(1800)  # the first test fetches the judge if nobody has

FOUND = [("CKV_SECRET_2", PLANTED)]


def test_one_that_was_taken_away_is_found_with_its_commit(programs: Tools, tmp_path: Path) -> None:
    verdict = look(programs, plant(tmp_path), "planted")
    assert [(each.check, each.on) for each in verdict.findings] == FOUND
    first = output(["git", "-C", str(tmp_path), "rev-list", "--max-parents=0", "HEAD"])
    assert verdict.findings[0].message.endswith(f"in {first[:12]}")
    assert (verdict.passed, verdict.note) == (1, "2 commits")


def test_a_shallow_clone_is_searched_as_far_as_it_goes(programs: Tools, tmp_path: Path) -> None:
    """And says that it ends there."""
    (tmp_path / "whole").mkdir()
    plant(tmp_path / "whole")
    commit(tmp_path / "whole", {"more.py": "more = 1\n"})
    for depth, commits, found in ((1, 1, []), (9, 3, FOUND)):
        clone = tmp_path / str(depth)
        git(tmp_path, "clone", "--quiet", f"--depth={depth}", f"file://{tmp_path}/whole", str(clone))
        verdict = look(programs, clone, "clone")
        assert [(each.check, each.on) for each in verdict.findings] == found
        shallow = ", without what was before them: this is a shallow clone" if depth == 1 else ""
        assert verdict.note == f"{commits} commits{shallow}"
        assert verdict.whole == (depth == 9)
