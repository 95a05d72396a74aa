"""values.yaml, its schema, its documentation and the scenario that sets everything tell the same."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .helm import CHART, ROOT

DOCS = ROOT / "charts" / "docs.py"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def docs(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DOCS, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = SCHEMA["definitions"][name] if name else schema
    return found


def own(schema: dict[str, Any]) -> dict[str, Any]:
    """The properties of an object that are not another chart's, which are refused."""
    foreign = {"$ref": "#/definitions/ofAnotherChart"}
    return {key: each for key, each in schema.get("properties", {}).items() if each != foreign}


def schema_paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, each in own(schema).items():
        if own(resolved(each)):
            yield from schema_paths(resolved(each), f"{prefix}{key}.")
        else:
            yield prefix + key


def value_paths(values: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The values down to where the schema takes any key."""
    for key, each in values.items():
        below = resolved(schema.get("properties", {}).get(key, {}))
        if isinstance(each, dict) and "properties" in below:
            yield from value_paths(each, below, f"{prefix}{key}.")
        else:
            yield prefix + key


def load(file: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / file).read_text(encoding="utf-8"))
    return loaded


def test_the_schema_knows_each_value_and_no_other() -> None:
    without_default = {"global", "resources.claims", "tests.resources.claims"}
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


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """Each value by its path."""

    def at(path: str) -> Any:
        return functools.reduce(lambda found, key: found[key], path.split("."), values)

    return {path: at(path) for path in value_paths(values, SCHEMA)}


def test_the_scenario_everything_changes_every_default() -> None:
    defaults = flat(load("values.yaml"))
    everything = flat(load("ci/everything-values.yaml"))
    unchanged = {path for path in defaults if everything.get(path, defaults[path]) == defaults[path]}
    assert unchanged == {
        "autoscaling.enabled",
        "podDisruptionBudget.enabled",
        "serviceAccount.create",
        "tests.enabled",
        *(f"prometheusRule.alerts.{alert}.enabled" for alert in load("values.yaml")["prometheusRule"]["alerts"]),
        # Each would take the place of another that is set.
        "ingress.selfSigned",
        "ingress.tls",
        "podMonitor.enabled",
        "traefik.retry.enabled",
        "keda.enabled",
        "externalSecret.enabled",
        "podDisruptionBudget.minAvailable",
        "migrations.serviceAccount.annotations",
        "persistence.existingClaim",
        "service.enabled",
    } - {"prometheusRule.alerts.ServiceNoTraffic.enabled"}


def test_the_readme_has_todays_values() -> None:
    done = docs("--check", "charts/fastapi-service")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("before\n<!-- values -->\nold\n<!-- /values -->\nafter\n", encoding="utf-8")
    (tmp_path / "values.yaml").write_text(
        "a:\n  # -- First,\n  # and more.\n  b: 1\n# -- Whole.\nc:\n  d: {e: 2}\n", encoding="utf-8"
    )
    return tmp_path


def test_the_table_is_written_between_its_marks(chart: Path) -> None:
    assert docs(chart).returncode == 0
    assert (chart / "README.md").read_text(encoding="utf-8") == (
        "before\n<!-- values -->\n"
        "| Value | Default | Meaning |\n| --- | --- | --- |\n"
        "| `a.b` | `1` | First, and more. |\n"
        '| `c` | `{"d": {"e": 2}}` | Whole. |\n'
        "<!-- /values -->\nafter\n"
    )
    assert docs("--check", chart).returncode == 0


def test_an_old_table_is_found(chart: Path) -> None:
    done = docs("--check", chart)
    assert done.returncode == 1
    assert f"README.md is out of date: run python charts/docs.py {chart}" in done.stderr
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
    done = docs(chart)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_chart_is_named(tmp_path: Path) -> None:
    done = docs(tmp_path / "none")
    assert done.returncode == 1
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


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
