"""The images that end-to-end tests run in the shapes of public projects: as little is asked of them as is promised."""

from pathlib import Path

import pytest

SHAPES = Path(__file__).parents[1] / "e2e" / "shapes"
NAMES = sorted(file.parent.name for file in SHAPES.glob("*/values.yaml"))


def test_there_are_three() -> None:
    assert NAMES == ["shell", "template", "workers"]


@pytest.mark.parametrize("name", NAMES)
def test_fifteen_lines_of_values_do(name: str) -> None:
    lines = (SHAPES / name / "values.yaml").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("#")]) <= 15


@pytest.mark.parametrize("name", NAMES)
def test_two_lines_of_their_own_code_were_changed(name: str) -> None:
    """Both are marked, and nothing else of it knows of metrics."""
    lines = [line for file in (SHAPES / name).rglob("*.py") for line in file.read_text(encoding="utf-8").splitlines()]
    assert len([line for line in lines if line.endswith("# for the chart")]) == 2
    assert [line for line in lines if "nstrumentator" in line and not line.endswith("# for the chart")] == []
