"""What a pipeline shows of the reports."""

import json
from pathlib import Path

from delivery.summary import summary
from tests.make import make


def write(folder: Path, name: str, content: object) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def test_reports_are_counted_and_failures_named(tmp_path: Path) -> None:
    write(
        tmp_path,
        "e2e.json",
        [
            {"name": "upgrade", "pass": True, "sent": 1200, "failed": 0, "seconds": 12.5},
            {"name": "drain", "pass": False, "sent": 300, "failed": 2, "seconds": 3.0, "note": "p99 2 s"},
        ],
    )
    write(tmp_path, "judges.json", [{"judge": "trivy", "scenario": "minimal", "passed": 5, "failed": 1}])
    write(tmp_path, "sbom.cdx.json", {"bomFormat": "CycloneDX"})
    assert summary(tmp_path).splitlines() == [
        "| report | records | requests sent | failed |",
        "|---|---:|---:|---:|",
        "| e2e.json | 2 | 1,500 | 1 |",
        "| judges.json | 1 |  | 1 |",
        "",
        "Failed:",
        "- **e2e**: drain (p99 2 s)",
        "- **judges**: trivy minimal",
    ]


def test_where_all_is_well_nothing_is_named(tmp_path: Path) -> None:
    write(tmp_path, "delivery.json", [{"name": "first deploy", "pass": True, "sent": 0, "failed": 0, "seconds": 40}])
    assert summary(tmp_path).splitlines()[-1] == "| delivery.json | 1 |  | 0 |"


def test_a_half_report_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "e2e.json").write_text('[{"name": "upgra', encoding="utf-8")
    write(tmp_path, "slo.json", [{"name": "burn", "pass": False, "note": "two\nlines"}])
    said = summary(tmp_path).splitlines()
    assert said[2:4] == ["| e2e.json | 1 |  | 1 |", "| slo.json | 1 |  | 1 |"]
    assert said[-2].startswith("- **e2e**: this report cannot be read (")
    assert said[-1] == "- **slo**: burn (two lines)"


def test_without_reports_it_says_so(tmp_path: Path) -> None:
    assert summary(tmp_path) == f"There are no reports in {tmp_path}."


def test_the_target_prints_it() -> None:
    assert make("summary").startswith(("| report |", "There are no reports in build/report."))
