import json
from pathlib import Path

import pytest

from tests import proof

PAGE = "before\n<!-- e2e -->\nold\n<!-- /e2e -->\nbetween\n<!-- bench -->\nkept\n<!-- /bench -->\nafter\n"
ROW = {"name": "helm rollback", "sent": 2827, "failed": 0, "seconds": 22.4, "pass": True, "note": "p50 4 ms"}


def test_a_table_comes_from_its_report_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "e2e.json").write_text(json.dumps([ROW]))
    page = proof.written(PAGE, tmp_path)
    assert "| helm rollback | 2,827 | 0 | 22 s | p50 4 ms |" in page
    assert "old" not in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "<!-- bench -->\nkept\n<!-- /bench -->" in page


@pytest.mark.parametrize(("report", "says"), [("{", "e2e.json is no whole report"), ("[{}]", "KeyError")])
def test_half_a_report_is_named(tmp_path: Path, report: str, says: str) -> None:
    (tmp_path / "e2e.json").write_text(report)
    with pytest.raises(ValueError, match=says):
        proof.written(PAGE, tmp_path)


def test_a_page_without_a_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "e2e.json").write_text(json.dumps([ROW]))
    with pytest.raises(ValueError, match="no place for e2e"):
        proof.written("nothing", tmp_path)


def test_the_page_has_a_place_for_every_table() -> None:
    page = proof.PAGE.read_text(encoding="utf-8")
    assert [name for name in proof.TABLES if f"<!-- {name} -->" not in page or f"<!-- /{name} -->" not in page] == []
