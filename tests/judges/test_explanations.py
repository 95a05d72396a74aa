"""A finding needs a reason, and a reason a finding."""

from pathlib import Path

import pytest

from tests.judges.conftest import report
from tests.judges.explanations import FILE, Explanation, load, stale, unexplained
from tests.judges.scenarios import BAD
from tests.judges.verdict import Finding, Verdict

FINDING = Finding("trivy", "minimal", "KSV-0011", "Deployment/app", "set a CPU limit")
EXPLANATION = Explanation("trivy", "KSV-0011", "minimal/Deployment/*", "it throttles")


def test_a_finding_with_a_reason_is_explained() -> None:
    assert unexplained([FINDING], [EXPLANATION]) == []
    assert stale([EXPLANATION], [FINDING]) == []


@pytest.mark.parametrize(
    "other",
    [
        Explanation("checkov", "KSV-0011", "*", "another judge"),
        Explanation("trivy", "KSV-0012", "*", "another check"),
        Explanation("trivy", "KSV-0011", "*/Job/*", "another kind"),
        Explanation("trivy", "KSV-0011", "staging/*", "another scenario"),
        Explanation("trivy", "KSV-0011", "*", "other words", says="*memory*"),
    ],
    ids=lambda each: each.why,
)
def test_a_reason_for_something_else_explains_nothing_and_is_stale(other: Explanation) -> None:
    assert unexplained([FINDING], [other]) == [FINDING]
    assert stale([other], [FINDING]) == [other]


def test_a_file_is_where_it_was_found() -> None:
    finding = Finding("hadolint", "images/a.Dockerfile", "DL3008", "images/a.Dockerfile", "pin")
    assert Explanation("hadolint", "DL3008", "images/*", "stable").explains(finding)


def test_each_place_of_a_list_must_be_found(tmp_path: Path) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text("- {judge: trivy, check: KSV-0011, where: [minimal/*, gone/*], why: it throttles}\n")
    assert [each.where for each in stale(load(file), [FINDING])] == ["gone/*"]


def test_so_must_the_words(tmp_path: Path) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text("- {judge: trivy, check: KSV-0011, says: ['*CPU*', '*memory*'], where: '*', why: it throttles}\n")
    assert unexplained([FINDING], load(file)) == []
    assert [each.says for each in stale(load(file), [FINDING])] == ["*memory*"]


@pytest.mark.parametrize(
    "entry",
    [
        "{judge: trivy, check: KSV-0011, where: '*'}",
        "{judge: trivy, check: KSV-0011, where: '*', why: ' '}",
        "{judge: trivy, check: KSV-0011, where: [], why: it throttles, because: x}",
        "{judge: trivy, check: 11, where: '*', why: it throttles}",
    ],
)
def test_an_entry_that_is_not_whole_is_refused(entry: str, tmp_path: Path) -> None:
    file = tmp_path / "explained.yaml"
    file.write_text(f"- {entry}\n")
    with pytest.raises(ValueError, match=r"explained\.yaml, entry 1: give each of check, judge, where, why"):
        load(file)


def test_the_report_counts_what_passed_failed_and_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.judges.explanations.load", lambda: [EXPLANATION])
    other = Finding("trivy", "minimal", "KSV-0012", "Deployment/app", "runs as root")
    verdicts = {"minimal": Verdict("minimal", 7, [FINDING, other]), BAD: Verdict(BAD, 1, [other])}
    file = tmp_path / "report" / "judges.json"
    report({"trivy": verdicts}, file)
    assert file.read_text() == (
        '[\n  {\n    "judge": "trivy",\n    "scenario": "minimal",\n    "passed": 7,\n'
        '    "failed": 1,\n    "explained": 1\n  }\n]\n'
    )


def test_our_own_file_is_whole() -> None:
    assert load(FILE)
