"""Which licences are taken, and that one that is not known is not taken either."""

import json
from pathlib import Path

import pytest

from delivery import licences, sbom
from delivery.__main__ import main
from delivery.licences import Policy
from delivery.sbom import Package
from tests.supply.conftest import MakeImage
from tests.supply.layout import debian, python
from toolkit.process import Failure

ALLOWED = frozenset({"MIT", "Apache-2.0", "GPL-3.0-or-later WITH GCC-exception-3.1", "public domain, as they say"})


@pytest.mark.parametrize(
    ("expression", "taken"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND Apache-2.0", True),
        ("MIT OR GPL-3.0-only AND Apache-2.0", True),  # AND binds tighter
        ("(MIT OR GPL-3.0-only) AND Apache-2.0", True),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("GPL-3.0-or-later", False),
        ("MIT OR GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("GPL-3.0-or-later WITH Other-exception", False),
        ("public domain, as they say", True),
        ("MIT OR", False),
        ("(MIT", False),
        ("MIT)", False),
        ("MIT MIT", False),
        ("", False),
    ],
)
def test_expressions(expression: str, taken: bool) -> None:
    assert licences.taken(expression, ALLOWED) is taken


def judged(package: Package, **stated: tuple[str, ...]) -> licences.Judgement:
    rules = Policy({"pypi": ALLOWED}, {f"pypi:{name}": names for name, names in stated.items()})
    return licences.judge(package, rules)


def test_every_licence_of_a_package_must_be_taken() -> None:
    found = judged(Package("pypi", "h11", "1", licences=("MIT", "GPL-3.0-only")))
    assert found.refused == ("GPL-3.0-only",)
    assert "GPL-3.0-only" in licences.refusals([found])[0]


def test_a_package_that_says_nothing_is_unknown() -> None:
    found = judged(Package("pypi", "h11", "1"))
    assert not found.passes
    (said,) = licences.refusals([found])
    assert said.startswith("The Python distribution h11 does not say its licence: state it in delivery/licences.yaml")


def test_what_is_stated_overrules_the_package() -> None:
    assert judged(Package("pypi", "h11", "1"), h11=("MIT",)).passes
    assert not judged(Package("pypi", "h11", "1", licences=("MIT",)), h11=("GPL-3.0-only",)).passes


def test_another_kind_of_package_has_a_list_of_its_own() -> None:
    assert not judged(Package("deb", "h11", "1", licences=("MIT",))).passes


def test_a_statement_needs_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "licences.yaml"
    file.write_text("allowed: {}\nstated: {'pypi:h11': {licences: [MIT]}}\n")
    with pytest.raises(Failure, match="pypi:h11 is stated without a reason"):
        licences.policy(file)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot be read as lists of licences"),
        ("allowed: [MIT]\n", "cannot be read as lists of licences"),
        ("allowed: {pypi: [MIT]\n", "cannot be read as lists of licences"),
        ("stated: {}\n", "cannot be read as lists of licences"),
        ("allowed: {}\nstated: {'pypi:h11': {reason: x}}\n", "pypi:h11 is stated without licences"),
        ("allowed: {}\nstated: {'pypi:h11': {licences: MIT, reason: x}}\n", "pypi:h11 is stated without licences"),
        ("allowed: {}\nstated: {'pypi:h11': {licences: [], reason: x}}\n", "pypi:h11 is stated without licences"),
    ],
)
def test_a_list_that_is_not_whole_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "licences.yaml").write_text(text)
    with pytest.raises(Failure, match=sentence):
        licences.policy(tmp_path / "licences.yaml")


def test_nothing_need_be_stated(tmp_path: Path) -> None:
    (tmp_path / "licences.yaml").write_text("allowed: {pypi: [MIT]}\nstated:\n")
    assert licences.policy(tmp_path / "licences.yaml") == Policy({"pypi": frozenset({"MIT"})}, {})


def test_copyleft_is_taken_of_debian_alone() -> None:
    rules = licences.policy()
    assert licences.judge(Package("deb", "x", "1", licences=("GPL-3.0-or-later",)), rules).passes
    assert not licences.judge(Package("pypi", "x", "1", licences=("GPL-3.0-or-later",)), rules).passes


def test_the_command_judges_an_image(
    make_image: MakeImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(licences, "REPORT", tmp_path / "licences.json")
    monkeypatch.setattr(sbom, "REPORT", tmp_path)
    copyright_file = {
        "usr/share/doc/netbase/copyright": "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
        "\nFiles: *\nCopyright: somebody\nLicense: GPL-2\n"
    }
    image = make_image(debian("netbase", "6.5") | copyright_file, python("h11", "1", licence="AGPL-3.0-only"))
    assert main(["licences", image]) == 1
    assert "Python distribution h11 has a licence that is not on the list, AGPL-3.0-only" in capsys.readouterr().err
    report = json.loads((tmp_path / "licences.json").read_text())
    assert report["pass"] is False
    assert [(p["name"], p["refused"]) for p in report["packages"]] == [("netbase", []), ("h11", ["AGPL-3.0-only"])]
