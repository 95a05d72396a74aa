"""Whole releases: what each file of values becomes, word for word.

After a change that is meant: `pytest tests/chart --update`, then read the difference.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .helm import CHART, ENVIRONMENTS, ROOT, SCENARIOS, helm, template, with_shared

SNAPSHOTS = Path(__file__).parent / "snapshots"
FILES = [*SCENARIOS, *ENVIRONMENTS]
ALL_FILES = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def snapshot_of(file: Path) -> Path:
    return SNAPSHOTS / f"{file.stem.removesuffix('-values')}.yaml"


def without_dashboards(rendered: str) -> str:
    """With the name of the file in place of a dashboard: a thousand lines that test_dashboards.py compares."""
    return re.sub(r"(?m)^  (\S+\.json): \|-\n(?:    .*\n){100,}", r"  \1: dashboards/\1\n", rendered)


@ALL_FILES
def test_rendered_as_before(file: Path, request: pytest.FixtureRequest) -> None:
    rendered = without_dashboards(template(None, file))
    snapshot = snapshot_of(file)
    if request.config.getoption("--update", default=False):
        snapshot.parent.mkdir(exist_ok=True)
        snapshot.write_text(rendered, encoding="utf-8")
    assert snapshot.exists(), "new scenario: run pytest tests/chart --update"
    assert rendered == snapshot.read_text(encoding="utf-8")


def test_no_snapshot_outlives_its_scenario() -> None:
    assert set(SNAPSHOTS.iterdir()) == {snapshot_of(file) for file in FILES}


@ALL_FILES
def test_lint_finds_nothing(file: Path) -> None:
    values = [f"--values={each}" for each in with_shared(file)]
    done = helm("lint", "--strict", CHART, *values, "--set=image.repository=example.com/app")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr


RULES = (
    "{extends: default, rules: {document-start: disable, line-length: {max: %d}, "
    "indentation: {indent-sequences: %s}, comments: {min-spaces-from-content: 1}, "
    "empty-lines: {max-end: %d}}}"
)


@pytest.mark.parametrize(
    ("paths", "rules"),
    [
        (
            [CHART / "Chart.yaml", CHART / "values.yaml", *SCENARIOS, *(ROOT / "k8s" / "environments").glob("*.yaml")],
            (120, "true", 0),
        ),
        ([SNAPSHOTS], (200, "whatever", 1)),  # as Helm's toYaml writes it, and with whole queries
    ],
    ids=["written", "rendered"],
)
def test_yaml_is_tidy(paths: list[Path], rules: tuple[str, int]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "yamllint", "--strict", "-d", RULES % rules, *paths],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
