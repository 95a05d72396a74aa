"""A test runs by itself, or beside any others: what two files of tests share is in a module that is none."""

import ast

import pytest

from toolkit.paths import ROOT

TESTS = ROOT / "tests"


def imported(text: str) -> list[str]:
    """Every module, and every name of one, that is imported."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def borrowed(text: str) -> list[str]:
    """What is imported of files of tests."""
    return [name for name in imported(text) if any(part.startswith("test_") for part in name.split(".")[:-1])]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from tests.e2e.test_alerts import world", ["tests.e2e.test_alerts.world"]),
        ("def late():\n    import tests.e2e.test_alerts.world", ["tests.e2e.test_alerts.world"]),
        ("from tests.e2e.alerts import test_helper", []),
    ],
)
def test_what_is_borrowed(text: str, found: list[str]) -> None:
    assert borrowed(text) == found


def test_no_file_borrows_from_a_file_of_tests() -> None:
    found = {file: borrowed(file.read_text(encoding="utf-8")) for file in TESTS.rglob("*.py")}
    assert {str(file): names for file, names in found.items() if names} == {}
