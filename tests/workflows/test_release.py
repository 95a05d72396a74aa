"""One version for everything, and what a release says of itself."""

import re
import shutil
from pathlib import Path

import pytest

from app import __version__
from delivery import release
from tests.make import make
from toolkit.paths import ROOT
from toolkit.process import CommandFailed, Failure

FILES = ("app/__init__.py", "pyproject.toml", "charts/fastapi-service/Chart.yaml", "kit/pyproject.toml", "CHANGELOG.md")
LOG = """\
# Changelog

## [Unreleased]

## [1.2.3] - 2026-01-31

### Fixed
- A mistake.

## [1.2.2] - 2026-01-01

Old.

[1.2.3]: https://example.com/1.2.3
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that name the version, released as 1.2.3."""
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, file)
        text = re.sub(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])", "1.2.3", file.read_text(encoding="utf-8"))
        file.write_text(text, encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(LOG, encoding="utf-8")
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    assert make("version").strip() == __version__


def test_a_tag_that_is_another_version_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"The tag is 'v9\.9\.9', but the version is"):
        make("version", TAG="v9.9.9")


def test_the_tag_of_the_version_is_taken(checkout: Path) -> None:
    assert release.agreed("v1.2.3", checkout) == "1.2.3"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("app/__init__.py", "1.2.3", "1.2.4"),
        ("pyproject.toml", 'version = "1.2.3"', 'version = "1.2.4"'),
        ("kit/pyproject.toml", 'version = "1.2.3"', 'version = "1.2.4"'),
        ("charts/fastapi-service/Chart.yaml", "\nversion: 1.2.3", "\nversion: 1.2.4"),
        ("charts/fastapi-service/Chart.yaml", "appVersion: 1.2.3", "appVersion: 1.2.4"),
        ("CHANGELOG.md", "## [1.2.3]", "## [1.2.4]"),
        ("app/__init__.py", "__version__", "version"),
        ("charts/fastapi-service/Chart.yaml", "appVersion:", "kubeVersion:"),
    ],
)
def test_one_that_differs_is_named(checkout: Path, file: str, old: str, new: str) -> None:
    change(checkout / file, old, new)
    with pytest.raises(Failure, match=r"not the same everywhere:(?s:.*)1\.2\.3"):
        release.agreed(root=checkout)


def test_a_version_is_semantic(checkout: Path) -> None:
    for file in FILES:
        text = (checkout / file).read_text(encoding="utf-8")
        (checkout / file).write_text(text.replace("1.2.3", "1.2.3-rc.1"), encoding="utf-8")
    assert release.agreed("v1.2.3-rc.1", checkout) == "1.2.3-rc.1"
    for file in FILES[:-1]:
        change(checkout / file, "1.2.3-rc.1", "1.2")
    change(checkout / FILES[2], "1.2.3-rc.1", "1.2")
    with pytest.raises(Failure, match="not the same everywhere"):  # a changelog has no heading for it
        release.agreed(root=checkout)


def test_nothing_is_left_unreleased(checkout: Path) -> None:
    change(checkout / "CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n- Something.\n")
    assert release.agreed(root=checkout) == "1.2.3"
    with pytest.raises(Failure, match=r"under Unreleased: move them under 1\.2\.3"):
        release.agreed("v1.2.3", checkout)


def test_a_heading_that_is_none_is_refused(checkout: Path) -> None:
    change(checkout / "CHANGELOG.md", "## [1.2.3] - 2026-01-31", "## 1.2.3")
    with pytest.raises(Failure, match=r"the heading '## 1\.2\.3'"):
        release.agreed(root=checkout)


@pytest.mark.parametrize("heading", ["## [1.2.3]", "## [1.2] - 2026-01-31", "## [Unreleased] - 2026-01-31"])
def test_a_release_has_a_date_and_nothing_else_has(checkout: Path, heading: str) -> None:
    change(checkout / "CHANGELOG.md", "## [1.2.3] - 2026-01-31", heading)
    with pytest.raises(Failure, match=re.escape(f"the heading '{heading}'")):
        release.agreed(root=checkout)


def test_a_version_has_one_section(checkout: Path) -> None:
    change(checkout / "CHANGELOG.md", "## [1.2.2]", "## [1.2.3]")
    with pytest.raises(Failure, match=r"the heading \[1\.2\.3\] twice"):
        release.notes("v1.2.3", checkout)


def test_notes_are_the_section_of_the_version(checkout: Path) -> None:
    assert release.notes("v1.2.3", checkout) == "### Fixed\n- A mistake."
    assert release.notes("v1.2.2", checkout) == "Old."


def test_notes_of_this_version_are_not_empty() -> None:
    assert make("release-notes", TAG=f"v{__version__}").strip() == release.notes(f"v{__version__}")


def test_notes_are_of_a_version() -> None:
    with pytest.raises(CommandFailed, match=r"Which version\? Give its tag"):
        make("release-notes", TAG="")


def test_a_version_without_notes_is_refused() -> None:
    with pytest.raises(CommandFailed, match=r"nothing under \[9\.9\.9\]"):
        make("release-notes", TAG="v9.9.9")


@pytest.mark.parametrize("registry", ["registry.example.com/charts", "oci://", "oci://a b"])
def test_a_registry_that_is_none_is_refused(registry: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="CHART_REGISTRY is"):
        release.push(tmp_path / "chart.tgz", registry)


def test_without_anything_pushed_there_are_no_outputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(release, "FACTS", {"image": tmp_path / "image.json"})
    with pytest.raises(Failure, match="Nothing was pushed"):
        release.outputs()
    (tmp_path / "image.json").write_text('{"repository": "r.example.com/links", "digest": "sha256:1"}')
    assert release.outputs() == {
        "image": "r.example.com/links@sha256:1",
        "image_repository": "r.example.com/links",
        "image_digest": "sha256:1",
    }
