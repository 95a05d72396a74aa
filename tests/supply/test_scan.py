"""Findings and what becomes of them. The registries' answers are real ones; those that not every network gives are
given in their own form."""

import datetime as dt
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from delivery import debian, findings, sbom, scan
from delivery.__main__ import main
from delivery.findings import Finding
from delivery.sbom import Contents, Package
from delivery.scan import Answer, Source
from tests.supply import layout
from tests.supply.conftest import MakeImage
from toolkit import apt
from toolkit.process import Failure

TODAY = dt.date(2026, 11, 23)
H11 = Package("pypi", "h11", "0.16.0")
ZLIB = Package("deb", "zlib1g", "1:1.3.1-1", "amd64")
HIGH = Finding("CVE-2026-1", "h11", "0.16.0", "high", "0.16.1", "a source")

Judge = Callable[..., scan.Verdict]


def source(*told: Finding, judged: tuple[Package, ...] = (H11, ZLIB)) -> Source:
    def ask(_contents: Contents, _document: Path) -> Answer:
        answer = Answer("a source", findings=list(told))
        answer.judges(judged)
        return answer

    return ask


@pytest.fixture
def exceptions(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "exceptions.yaml"
        file.write_text(f"exceptions:\n{text}")
        return file

    return write


@pytest.fixture
def judge(tmp_path: Path, exceptions: Callable[[str], Path]) -> Judge:
    """A verdict on an image of h11 and zlib1g."""

    def judged(*sources: Source, allow: str = "  []\n") -> scan.Verdict:
        components = [
            {"type": "operating-system", "name": "debian", "version": "13.7"},
            {"type": "library", "name": "h11", "purl": "pkg:pypi/h11@0.16.0"},
            {"type": "library", "name": "zlib1g", "purl": "pkg:deb/debian/zlib1g@1.3.1-1?arch=amd64&epoch=1"},
        ]
        document = tmp_path / "sbom.json"
        document.write_text(json.dumps({"components": components}))
        return scan.judge(document, sources, TODAY, exceptions(allow))

    return judged


def allow(until: str = "2026-11-23", **changed: str) -> str:
    entry = {"id": "CVE-2026-1", "package": "h11", "reason": "never reached", "until": until} | changed
    return "  - " + "\n    ".join(f"{key}: {value}" for key, value in entry.items()) + "\n"


def test_nothing_found_passes(judge: Judge) -> None:
    verdict = judge(source())
    assert scan.refusals(verdict, partial=False) == []
    assert scan.report("image", verdict)["pass"]


@pytest.mark.parametrize(
    ("severity", "fixed", "fails"),
    [
        ("critical", "2", True),
        ("high", "2", True),
        ("unrated", "2", True),
        ("medium", "2", False),
        ("high", "", False),
        ("critical", "", False),
    ],
)
def test_high_and_mendable_fails(judge: Judge, severity: str, fixed: str, fails: bool) -> None:
    verdict = judge(source(Finding("CVE-2026-2", "h11", "0.16.0", severity, fixed, "a source")))
    said = scan.refusals(verdict, partial=False)
    assert bool(said) is fails
    assert scan.report("image", verdict)["pass"] is not fails
    if fails:
        assert "1 high findings in h11" in said[0]


def test_what_two_sources_tell_is_one_finding(judge: Judge) -> None:
    verdict = judge(source(HIGH), source(HIGH))
    assert verdict.findings == [HIGH]


def test_an_exception_lets_pass_until_its_last_day(judge: Judge) -> None:
    verdict = judge(source(HIGH), allow=allow("2026-11-23"))
    assert scan.refusals(verdict, partial=False) == []
    assert scan.report("image", verdict)["counts"]["of them excepted"] == 1


def test_an_exception_that_has_ended_is_none(judge: Judge) -> None:
    said = scan.refusals(judge(source(HIGH), allow=allow("2026-11-22")), partial=False)
    assert "ended on 2026-11-22" in said[0]
    assert "1 high findings" in said[1]


def test_an_exception_is_for_a_quarter_of_a_year_at_most(judge: Judge) -> None:
    assert scan.refusals(judge(source(HIGH), allow=allow("2027-02-21")), partial=False) == []
    (said,) = scan.refusals(judge(source(HIGH), allow=allow("2027-02-22")), partial=False)
    assert "90 days is the most" in said


@pytest.mark.parametrize("changed", [{"id": "CVE-2026-9"}, {"package": "zlib1g"}])
def test_an_exception_of_another_finding_does_not_help(judge: Judge, changed: dict[str, str]) -> None:
    said = scan.refusals(judge(source(HIGH), allow=allow(**changed)), partial=False)
    assert "of no use any more" in said[0]
    assert "1 high findings" in said[1]


def test_whether_an_exception_is_of_use_shows_only_when_all_was_asked(judge: Judge) -> None:
    verdict = judge(source(judged=(ZLIB,)), allow=allow())
    assert scan.refusals(verdict, partial=True) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (allow(until="soon"), "write a day"),
        (allow(until="2026-11-23 10:00:00"), "write a day"),
        (allow(reason="''"), "has id, package, reason and until"),
        (allow(why="x"), "has id, package, reason and until"),
        ("  - CVE-2026-1\n", "has id, package, reason and until"),
    ],
)
def test_an_exception_that_is_not_whole_is_refused(exceptions: Callable[[str], Path], text: str, sentence: str) -> None:
    with pytest.raises(Failure, match=sentence):
        findings.exemptions(exceptions(text))


@pytest.mark.parametrize("text", ["", "exceptions: {}\n", "- id: x\n", "others: []\n"])
def test_a_file_without_exceptions_says_so(tmp_path: Path, text: str) -> None:
    (tmp_path / "exceptions.yaml").write_text(text)
    with pytest.raises(Failure, match="has no list of exceptions"):
        findings.exemptions(tmp_path / "exceptions.yaml")


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "exceptions.yaml").write_text("exceptions: [\n")
    for name in ("exceptions.yaml", "missing.yaml"):
        with pytest.raises(Failure, match=f"{name} cannot be read"):
            findings.exemptions(tmp_path / name)


def test_no_exceptions_are_an_empty_list(exceptions: Callable[[str], Path]) -> None:
    assert findings.exemptions(exceptions("")) == []
    assert findings.exemptions(exceptions("  # none\n")) == []


def test_the_exceptions_of_this_project_can_be_read() -> None:
    assert all(each.reason for each in findings.exemptions())


def test_an_exception_may_be_of_use_to_a_source_that_could_not_be_asked(judge: Judge) -> None:
    """A runner that is no Debian cannot tell whether Debian's update is still to come."""

    def silent(_contents: Contents, _document: Path) -> Answer:
        return Answer("another source", note="there is no network")

    verdict = judge(source(), silent, allow=allow())
    assert verdict.unjudged == []
    assert scan.refusals(verdict, partial=False) == []
    assert scan.lines(verdict) == ["a source: 2 packages", "another source: could not be asked (there is no network)"]


def test_silence_is_no_all_clear(judge: Judge) -> None:
    verdict = judge(source(judged=(ZLIB,)))
    (said,) = scan.refusals(verdict, partial=False)
    assert "No source has judged 1 packages (Python distributions)" in said
    assert scan.refusals(verdict, partial=True) == []
    assert scan.report("image", verdict)["unjudged"] == ["pypi:h11"]
    assert not scan.report("image", verdict)["pass"]


def test_reads_what_trivy_says() -> None:
    weakness: dict[str, Any] = {"VulnerabilityID": "CVE-2026-3", "InstalledVersion": "1", "Severity": "CRITICAL"}
    said = {
        "Results": [
            {"Type": "python-pkg", "Vulnerabilities": [{**weakness, "PkgName": "Some_Thing", "FixedVersion": "2"}]},
            {"Type": "debian", "Vulnerabilities": [{**weakness, "PkgName": "libc6", "Severity": "UNKNOWN"}]},
            {"Type": "debian"},
        ]
    }
    assert scan.from_trivy(Answer("trivy"), said).findings == [
        Finding("CVE-2026-3", "some-thing", "1", "critical", "2", "trivy"),
        Finding("CVE-2026-3", "libc6", "1", "unrated", "", "trivy"),
    ]


def test_reads_what_pip_audit_says() -> None:
    weakness = {"id": "PYSEC-2026-1", "fix_versions": ["2", "3"], "aliases": ["GHSA-x", "CVE-2026-4"]}
    wanted = {"h11": H11, "idna": Package("pypi", "idna", "3.20"), "mako": Package("pypi", "mako", "1.0")}
    said: list[dict[str, Any]] = [
        {"name": "h11", "version": "0.16.0", "vulns": [weakness]},
        {"name": "idna", "version": "3.20", "vulns": []},
        {"name": "mako", "skip_reason": "Dependency not found on PyPI and could not be audited: mako (1.0)"},
    ]
    answer = scan.from_pip_audit(Answer("PyPI"), wanted, said)
    assert answer.findings == [Finding("CVE-2026-4", "h11", "0.16.0", "unrated", "2", "PyPI")]
    assert {p.name for p in answer.judged} == {"h11", "idna"}
    assert answer.note == "the package index tells nothing of 1 of 3 releases"


def test_pypi_is_asked_or_named_as_silent() -> None:
    """Not every package index passes PyPI's advisories on; this release has some."""
    weak = Package("pypi", "jinja2", "2.4.1")
    answer = scan.advisories(Contents("", (weak,)), Path())
    if answer.asked:
        assert answer.judged == {weak}
        assert any(f.package == "jinja2" and f.fails for f in answer.findings)
    else:
        assert answer.note
        assert not answer.judged


def test_a_withdrawn_release_is_found() -> None:
    packages = (Package("pypi", "attrs", "21.1.0"), Package("pypi", "h11", "0.16.0"))
    answer = scan.withdrawn(Contents("", packages), Path())
    assert answer.asked == 2, answer.note
    assert [(f.id, f.package, f.fails) for f in answer.findings] == [("release-yanked", "attrs", True)]
    assert not answer.judged  # nobody has said that they have no weakness


def test_a_release_that_is_gone_is_found() -> None:
    packages = (Package("pypi", "attrs", "21.1.77"), Package("pypi", "h11", "0.16.0"))
    answer = scan.withdrawn(Contents("", packages), Path())
    assert [(f.id, f.package, f.fails) for f in answer.findings] == [("release-gone", "attrs", True)]
    assert answer.asked == 1


@pytest.mark.parametrize(("said", "note"), [("", "uv ended with exit 2"), ("error: no\n  route to host", "no route")])
def test_uv_that_could_not_ask_is_named_as_silent(said: str, note: str) -> None:
    answer = scan.from_uv(Answer("PyPI"), {"h11": H11}, said, 2)
    assert not answer.told
    assert note in answer.note
    assert not answer.findings


@pytest.mark.parametrize("ask", [scan.advisories, scan.withdrawn])
@pytest.mark.parametrize(("program", "note"), [(None, "cannot be run"), ("exec sleep 60", "did not end within 0.1 s")])
def test_a_program_that_is_missing_or_hangs_is_a_silent_source(
    ask: Source, program: str | None, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(scan, "TIMEOUT", 0.1)
    for name in ("uv", "pip-audit") if program else ():
        (tmp_path / name).write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / name).chmod(0o755)
    answer = ask(Contents("", (H11,)), Path())
    assert not answer.told
    assert note in answer.note
    assert not answer.judged


def test_debian_has_mended_an_old_package() -> None:
    """Of OpenSSL there has always been a security update; netbase has never had one."""
    packages = (Package("deb", "libssl3t64", "3.0.0-1", "amd64"), Package("deb", "netbase", "6.5", "all"))
    answer = scan.debian_security(Contents("debian 13.7", packages), Path())
    if not asks_debian():
        assert answer.note
        assert not answer.judged
        return
    assert answer.asked == 2, answer.note
    assert [(f.package, f.fails) for f in answer.findings] == [("libssl3t64", True)]
    assert re.match(r"as of \w{3}, \d", answer.note)


def asks_debian() -> bool:
    """Whether this machine's apt is set up for Debian's archives, and not those of a system made from it."""
    try:
        return "debian-security" in apt.mirrors()
    except Failure:
        return False


def test_what_stable_has_newer_is_told_but_no_finding() -> None:
    packages = [ZLIB, Package("deb", "netbase", "6.5"), Package("deb", "unheard-of", "1")]
    archive = debian.Archive({"netbase": "6.4"}, {"zlib1g": "1:1.3.2-1", "netbase": "6.5"}, "today")
    answer = scan.from_archive(Answer("Debian", note="as of today"), packages, archive)
    assert not answer.findings
    assert answer.judged == set(packages[:2])
    assert answer.note == "as of today; stable has newer versions of zlib1g"


@pytest.mark.parametrize(
    ("image", "archive", "weak"),
    [
        ("1.9-1", "1.10-1", True),
        ("1.10-1", "1.9-1", False),
        ("1:1.0-1", "2.0-1", False),
        ("2.0-1", "1:1.0-1", True),
        ("1.0~rc1-1", "1.0-1", True),
        ("1.0-1", "1.0-1+deb13u1", True),
        ("1.0-1+deb13u1", "1.0-1+deb13u1", False),
    ],
)
def test_versions_are_in_debians_order(image: str, archive: str, weak: bool) -> None:
    package = Package("deb", "zlib1g", image)
    answer = scan.from_archive(Answer("Debian"), [package], debian.Archive({"zlib1g": archive}, {}, "today"))
    assert bool(answer.findings) is weak


@pytest.mark.parametrize("system", ["", "alpine 3.22", "debian 7.1"])
def test_another_system_is_not_judged_by_debian(system: str) -> None:
    answer = scan.debian_security(Contents(system, (ZLIB,)), Path())
    assert not answer.asked
    assert "only Debian's stable releases are known here" in answer.note


def test_an_image_without_a_kind_of_package_needs_no_source_for_it() -> None:
    nothing = Contents("debian 13.7", ())
    assert all(ask(nothing, Path()).told for ask in (scan.advisories, scan.withdrawn, scan.debian_security))
    assert scan.advisories(nothing, Path()).note == "there are no Python distributions"
    assert scan.withdrawn(nothing, Path()).note == "there are no Python distributions"
    assert scan.debian_security(nothing, Path()).note == "there are no Debian packages"


def test_a_source_with_nothing_to_judge_is_not_one_that_could_not_be_asked(judge: Judge) -> None:
    def nothing(_contents: Contents, _document: Path) -> Answer:
        return Answer("a source", told=True, note="there are no such packages")

    assert scan.lines(judge(nothing)) == ["a source: 0 packages (there are no such packages)"]


def test_the_command_fails_for_an_old_image(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scan, "REPORT", tmp_path / "scan.json")
    monkeypatch.setattr(sbom, "REPORT", tmp_path)
    if not asks_debian():
        monkeypatch.setattr(
            scan, "SOURCES", (source(Finding("CVE-2026-5", "libssl3t64", "3", "high", "4", "another")),)
        )
    image = make_image(layout.debian("libssl3t64", "3.0.0-1"), layout.python("h11", "0.16.0"))
    assert main(["scan", image, "--partial"]) == 1
    said = capsys.readouterr()
    assert "high findings in libssl3t64" in said.err
    assert not json.loads((tmp_path / "scan.json").read_text())["pass"]


@pytest.mark.parametrize(("given", "code"), [("1", 0), ("true", 0), ("0", 1), ("", 1), ("maybe", 1)])
def test_partial_is_asked_for_by_a_yes(
    given: str, code: int, make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "REPORT", tmp_path / "scan.json")
    monkeypatch.setattr(sbom, "REPORT", tmp_path)
    monkeypatch.setattr(scan, "SOURCES", ())
    monkeypatch.setenv("PARTIAL", given)
    assert main(["scan", make_image(layout.debian("netbase", "6.5"), layout.python("h11", "0.16.0"))]) == code


def test_two_platforms_of_an_image_have_two_reports(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "REPORT", tmp_path / "scan.json")
    monkeypatch.setattr(sbom, "REPORT", tmp_path)
    monkeypatch.setattr(scan, "SOURCES", ())
    image = make_image(layout.debian("netbase", "6.5"), layout.python("h11", "0.16.0"))
    scan.scan(image)
    scan.scan(image, "linux/amd64")
    assert {file.name for file in tmp_path.glob("scan*")} == {"scan.json", "scan-linux-amd64.json"}
