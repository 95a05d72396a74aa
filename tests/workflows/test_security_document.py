"""docs/security.md names tests that exist, and has a row for each risk and each practice that it is about."""

import ast
import re
from functools import cache

import pytest

from tests.attack.groups import ANYWHERE, OWN
from toolkit.paths import ROOT

TESTS = ROOT / "tests"
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([^`]+)::([^`]+)`", PAGE)) - {("folder/file.py", "name")})

GROUPS = {name for name, _ in [*ANYWHERE, *OWN]}


@cache
def functions(file: str) -> set[str]:
    """Names of the functions and methods of a file of tests; none if it is not there."""
    path = TESTS / file
    if not path.is_file():
        return set()
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def rows(heading: str) -> dict[str, str]:
    """Of the table below a heading, the rows by the first word of each."""
    section = PAGE.partition(f"\n## {heading}")[2].partition("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| (\S+) (.*)", section, flags=re.M)}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{file}::{name}" for file, name in NAMED])
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    function, _, group = name.partition("[")
    assert function.startswith("test_")
    assert function in functions(file)
    assert not group or group.removesuffix("]") in GROUPS


def test_many_are_named() -> None:
    """Else the test above would look for nothing."""
    assert len(NAMED) > 100


@pytest.mark.parametrize("number", range(1, 11))
def test_each_risk_of_an_api_has_a_row_with_a_test(number: int) -> None:
    assert "::test_" in rows("OWASP API Security Top 10").get(f"API{number}:2023", "")


@pytest.mark.parametrize("number", range(1, 13))
def test_each_practice_for_tokens_has_a_row_with_a_test(number: int) -> None:
    assert "::test_" in rows("RFC 8725").get(f"3.{number}", "")
