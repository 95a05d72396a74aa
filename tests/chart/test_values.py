"""values.yaml, its schema, its documentation and the scenario that sets everything tell the same."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from charts import everything

from .helm import ROOT
from .schema import SCHEMA, load, own, resolved


def made(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "charts", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def schema_paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, each in own(schema).items():
        # What may be null is a value of its own.
        if own(resolved(each)) and "null" not in resolved(each).get("type", []):
            yield from schema_paths(resolved(each), f"{prefix}{key}.")
        else:
            yield prefix + key


def value_paths(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The values down to where the schema takes any key."""
    for key, each in values.items():
        below = resolved(schema.get("properties", {}).get(key, {}))
        if isinstance(each, dict) and "properties" in below and "null" not in below.get("type", []):
            yield from value_paths(each, below, f"{prefix}{key}.")
        else:
            yield prefix + key


def test_the_schema_knows_each_value_and_no_other() -> None:
    without_default = {"global", "enabled", "resources.claims", "tests.resources.claims"}
    assert {*value_paths(load("values.yaml"), SCHEMA), *without_default} == {*schema_paths(SCHEMA)}


def objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from objects_in(each)


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    found = list(objects_in(SCHEMA))
    assert len(found) > 15
    assert [each for each in found if each.get("additionalProperties") is not False] == []


def test_what_is_made_of_the_values_is_up_to_date() -> None:
    done = made("--check", "charts/fastapi-service")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("before\n<!-- values -->\nold\n<!-- /values -->\nafter\n", encoding="utf-8")
    (tmp_path / "values.yaml").write_text(
        "a:\n  # -- First,\n  # and more.\n  b: 1\n# -- Whole.\nc:\n  d: {e: 2}\n", encoding="utf-8"
    )
    return tmp_path


def test_the_table_is_written_between_its_marks(chart: Path) -> None:
    assert made(chart).returncode == 0
    assert (chart / "README.md").read_text(encoding="utf-8") == (
        "before\n<!-- values -->\n"
        "| Value | Default | Meaning |\n| --- | --- | --- |\n"
        "| `a.b` | `1` | First, and more. |\n"
        '| `c` | `{"d": {"e": 2}}` | Whole. |\n'
        "<!-- /values -->\nafter\n"
    )
    assert made("--check", chart).returncode == 0


def test_an_old_table_is_found(chart: Path) -> None:
    done = made("--check", chart)
    assert done.returncode == 1
    assert f"README.md is out of date: run python -m charts {chart}" in done.stderr
    assert "old" in (chart / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("values.yaml", "# -- A.\na: 1\nb:\n  c: 2\n  d: 3\n", "write a `# --` comment above b.c, b.d"),
        ("values.yaml", "# A.\na: 1\n", "write a `# --` comment above a"),
        ("values.yaml", "- a\n", "values.yaml holds no values: write `key: value` lines"),
        ("README.md", "no marks", "README.md has no place for the table: write a line <!-- values -->"),
    ],
)
def test_what_is_missing_is_named(chart: Path, file: str, text: str, message: str) -> None:
    (chart / file).write_text(text, encoding="utf-8")
    done = made(chart)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_chart_is_named(tmp_path: Path) -> None:
    done = made(tmp_path / "none")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


SHAPES = {
    "quiet": {"type": "boolean"},
    "enabled": {"type": "boolean"},
    "number": {"type": "integer", "minimum": 1},
    "share": {"$ref": "#/definitions/share"},
    "level": {"enum": ["low", "high"]},
    "text": {"type": "string"},
    "most": {"type": ["integer", "null"], "minimum": 2},
    "command": {"type": "array", "examples": [["python"]]},
}


@pytest.fixture
def complete(tmp_path: Path) -> Callable[[str, str, dict[str, Any]], str]:
    def complete(scenario: str, values: str, shapes: dict[str, Any]) -> str:
        schema = {"definitions": {"share": {"type": "number", "maximum": 1}}, "properties": shapes}
        (tmp_path / "values.yaml").write_text(values, encoding="utf-8")
        (tmp_path / "values.schema.json").write_text(json.dumps(schema), encoding="utf-8")
        return everything.with_all(scenario, tmp_path)

    return complete


@pytest.mark.parametrize(
    ("default", "added"),
    [
        ("quiet: true", "quiet: false"),
        ("quiet: false", "quiet: true"),
        ("enabled: false", "enabled: true"),
        ("enabled: true", ""),  # off, it would hide what is below it
        ("number: 3", "number: 4"),
        ("share: 0.9", "share: 0.45"),
        ("level: low", "level: high"),
        ('text: ""', "text: example"),
        ("most: null", "most: 2"),
        ("command: []", "command: [python]"),
    ],
)
def test_the_scenario_everything_gets_what_it_lacks(default: str, added: str, complete: Callable[..., str]) -> None:
    expected = "a: 1\n" + (f"{added}\n" if added else "")
    assert complete("a: 1\n", f"a: 0\n{default}\n", {"a": {"type": "integer"}, **SHAPES}) == expected


def test_it_gets_it_behind_its_neighbour(complete: Callable[..., str]) -> None:
    group = {"properties": {"quiet": {"type": "boolean"}, "number": {"type": "integer"}}}
    values = (
        "first: {quiet: false, number: 1}\nsecond:\n  quiet: false\n  number: 1\n"
        "third: {quiet: false, number: 1}\nlast: a\n"
    )
    scenario = "# Of the first.\nfirst: {quiet: true}\n# Of the second.\nsecond:\n  number: 2\n\nlast: |\n  b\n"
    expected = (
        "# Of the first.\nfirst: {quiet: true, number: 2}\n# Of the second.\nsecond:\n  quiet: true\n  number: 2\n"
        "third: {quiet: true, number: 2}\n\nlast: |\n  b\n"
    )
    shapes = {"first": group, "second": group, "third": group, "last": {"type": "string"}}
    assert complete(scenario, values, shapes) == expected
    assert complete(expected, values, shapes) == expected


def test_it_asks_for_an_example_where_it_knows_none(complete: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match=r'has no other value of rules for ci/.*: give it "examples"'):
        complete("a: 1\n", "rules: []\n", {"rules": {"type": "array"}})


def test_a_scenario_that_writes_a_default_is_refused(complete: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match="sets quiet to its default: write another value"):
        complete("quiet: false\n", "quiet: false\n", SHAPES)


QUANTITIES = (
    *(
        "1",
        "0.5",
        ".5",
        "5.",
        "+1",
        "100m",
        "1u",
        "1n",
        "1k",
        "1M",
        "1G",
        "1T",
        "1P",
        "1E",
        "1e3",
        "1E3",
        "1e-3",
        "12e6",
    ),
    *("131072Ki", "1Mi", "1.5Gi", "1Ti", "1Pi", "1Ei"),
    *(
        "131072ki",
        "1K",
        "1ki",
        "1mi",
        "1MI",
        "1EI",
        "1Gib",
        "1GB",
        "1 Gi",
        "1e3Ki",
        "1_0",
        "",
        "one",
        "1,5",
        "\u0661",
    ),
)


def test_quantities_are_those_of_kubernetes() -> None:
    """By the parser that kubectl has of it; but for what is not above 0: negative ones, and units alone."""
    pattern = re.compile(SCHEMA["definitions"]["quantity"]["pattern"], re.ASCII)
    kubectl = ["kubectl", "create", "quota", "any", "--dry-run=client", "--output=name"]
    for quantity in QUANTITIES:
        done = subprocess.run([*kubectl, f"--hard=memory={quantity}"], capture_output=True, check=False)
        assert bool(pattern.search(quantity)) is (done.returncode == 0), (quantity, done.stderr)
