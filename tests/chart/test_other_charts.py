"""Values of other charts work, or are refused with what they are called here: docs/values-of-other-charts.md."""

import copy
import functools
import itertools
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from .helm import CHART, ROOT, helm, refusal
from .schema import SCHEMA, load, own, resolved

DOCUMENT = ROOT / "docs" / "values-of-other-charts.md"
FOREIGN = {"$ref": "#/definitions/ofAnotherChart"}
TABLES: dict[str, dict[str, Any]] = yaml.safe_load((CHART / "files" / "other-charts.yaml").read_text(encoding="utf-8"))
CHARTS = ("onechart", "stakater/application", "bjw-s app-template")
EXAMPLES: dict[str, Any] = {"": "any", "string": "any", "slice": [{}]}
# What a thing in such a list needs.
ITEMS: dict[str | int, dict[str, str]] = {
    "hosts": {"host": "a.example"},
    "paths": {"path": "/"},
    "containers": {"name": "app"},
}


class Row:
    def __init__(self, path: str, given: Any) -> None:
        row = given if isinstance(given, dict) else {"ours": given}
        ours = row.get("ours", [])
        self.path = path
        self.ours: list[str] = ours if isinstance(ours, list) else [ours]
        self.note: str = row.get("note", "")
        self.when: str = row.get("when", "")
        self.works = self.ours == [path] and not self.when
        # An example of it: a place in a list is 0, a name is `main`.
        self.keys: list[str | int] = []
        for segment in path.split("."):
            place = segment == "*" and (self.keys[-1] in ("hosts", "paths") or self.keys == ["podSpec", "containers"])
            self.keys.append(0 if place else "main" if segment == "*" else segment.partition("|")[0])

    @property
    def example(self) -> str:
        """Its path as a refusal names it."""
        return "".join(f"[{key}]" if key == 0 else f".{key}" for key in self.keys).removeprefix(".")

    def covers(self, keys: tuple[str | int, ...]) -> bool:
        """Whether it is about what is there, or a part of it."""
        segments = [segment.split("|") for segment in self.path.split(".")]
        return len(segments) >= len(keys) and all(
            key in names or names == ["*"] for key, names in zip(keys, segments, strict=False)
        )

    def below(self, other: "Row") -> bool:
        return self.keys[: len(other.keys)] == other.keys


ROWS = [Row(path, given) for rows in TABLES.values() for path, given in rows.items()]
REFUSED = [row for row in ROWS if not row.works]
WORKING = [row for row in ROWS if row.works]


def put(values: dict[str | int, Any], row: Row) -> None:
    """Set an example of the row's value."""
    at: dict[str | int, Any] = values
    for key, following in itertools.pairwise(row.keys):
        if key == 0:
            continue
        below = at.setdefault(key, [copy.copy(ITEMS[key])] if following == 0 else {})
        at = below[0] if following == 0 else below
    at[row.keys[-1]] = copy.deepcopy(EXAMPLES[row.when])


def batches(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows that can be given at once: none is part of another."""
    left = rows
    while left:
        batch: list[Row] = []
        for row in left:
            if not any(row.below(each) or each.below(row) for each in batch):
                batch.append(row)
        yield batch
        left = [row for row in left if row not in batch]


def test_each_that_has_another_name_is_refused_with_ours() -> None:
    assert len(REFUSED) > 300
    for batch in batches(REFUSED):
        values: dict[Any, Any] = {}
        for row in batch:
            put(values, row)
        lines = refusal(values)
        for row in batch:
            kind = {"slice": "list"}.get(row.when, row.when or "value")
            (line,) = [each for each in lines if each.startswith(f"{row.example} is no ")]
            told = line.removeprefix(f"{row.example} is no {kind} here: ")
            note = f" ({row.note})" if row.ours and row.note else row.note
            assert told == (f"set {' and '.join(row.ours)}{note}" if row.ours else note)
        assert len(lines) == len(batch)


def exists(path: str) -> bool:
    """Whether the schema takes a value there."""
    schema = SCHEMA
    for key in path.split("."):
        if key in own(schema):
            schema = resolved(own(schema)[key])
        elif "properties" in schema or schema.get("type") != "object":
            return False
    return True


def test_ours_is_a_value_of_this_chart() -> None:
    assert [row.path for row in ROWS if not (row.ours or row.note)] == []
    assert [(row.path, path) for row in ROWS for path in row.ours if not exists(path)] == []


def test_a_value_that_is_not_there_is_seen() -> None:
    assert exists("service.port")
    assert exists("podSpec.hostname")
    assert not exists("service.ports")
    assert not exists("service.port.number")


def test_each_of_the_same_name_works() -> None:
    """As the scenario that sets everything shows, which is rendered by other tests."""
    everything, defaults = load("ci/everything-values.yaml"), load("values.yaml")
    for row in WORKING:
        functools.reduce(lambda found, key: found[key], row.path.split("."), defaults)
        if row.path not in ("autoscaling.enabled", "service.enabled", "ingress.tls", "externalSecret.enabled"):
            functools.reduce(lambda found, key: found[key], row.path.split("."), everything)


def test_the_charts_say_the_same_of_the_same_value() -> None:
    said: dict[tuple[str, str], Row] = {}
    for row in ROWS:
        first = said.setdefault((row.path, row.when), row)
        assert (first.ours, first.note) == (row.ours, row.note), row.path
    assert not {row.path for row in WORKING} & {row.path for row in REFUSED if not row.when}


def foreign(schema: dict[str, Any], prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the schema lets another chart's value through to be refused."""
    for key, each in schema.get("properties", {}).items():
        if each == FOREIGN:
            yield (*prefix, key)
        else:
            yield from foreign(resolved(each), (*prefix, key))
    if "items" in schema:
        yield from foreign(resolved(schema["items"]), (*prefix, 0))


def test_nothing_is_let_through_that_is_not_refused() -> None:
    let_through = set(foreign(SCHEMA))
    assert len(let_through) > 100
    for keys in let_through:
        assert any(row.covers(keys) for row in REFUSED), keys
    lines = refusal({"service": {"app": "any"}, "ingress": {"app": "any"}, "serviceMonitor": {"app": "any"}})
    assert [line.partition(" ")[0] for line in lines] == ["ingress.app", "service.app", "serviceMonitor.app"]


def test_all_are_told_at_once_and_before_anything_else() -> None:
    """Of another type a value could not be read for other mistakes."""
    lines = refusal({"image": {"repository": ""}, "replicaCount": 2, "serviceAccount": "links", "ports": []})
    assert sorted(lines) == [
        "ports is no list here: set ports.http and extraPorts (with servicePort for svcPort)",
        "replicaCount is no value here: set replicas",
        "serviceAccount is no string here: set serviceAccount.create and serviceAccount.name (create is false)",
    ]


def test_what_is_said_of_a_part_is_not_said_of_the_whole() -> None:
    assert refusal({"deployment": {"replicas": 2, "other": 1}}) == [
        "deployment.replicas is no value here: set replicas"
    ]
    assert refusal({"deployment": {"other": 1}}) == [
        "deployment is no value here: what it sets is set at the top level"
    ]


def test_a_null_takes_it_away() -> None:
    done = helm("template", "demo", CHART, "--set=image.repository=a,replicaCount=null")
    assert done.returncode == 0, done.stderr


def other_charts(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "charts/other_charts.py", "charts/fastapi-service", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_document_has_todays_tables(tmp_path: Any) -> None:
    done = other_charts(str(DOCUMENT.relative_to(ROOT)), "--check")
    assert done.returncode == 0, done.stderr

    old = tmp_path / "old.md"
    old.write_text("before\n<!-- tables -->\nold\n<!-- /tables -->\nafter\n", encoding="utf-8")
    assert f"{old} is out of date: run python charts/other_charts.py" in other_charts(str(old), "--check").stderr
    assert other_charts(str(old)).returncode == 0
    assert other_charts(str(old), "--check").returncode == 0
    assert old.read_text(encoding="utf-8").startswith("before\n<!-- tables -->\n\n## onechart\n")


def test_a_document_without_a_place_is_named(tmp_path: Any) -> None:
    empty = tmp_path / "empty.md"
    empty.write_text("", encoding="utf-8")
    assert f"{empty} has no place for the tables" in other_charts(str(empty)).stderr
    assert "No such file" in other_charts(str(tmp_path / "none.md")).stderr


@pytest.mark.parametrize("chart", CHARTS)
def test_the_values_of_each_chart_are_counted(chart: str, tmp_path: Any) -> None:
    document = tmp_path / "document.md"
    document.write_text("<!-- tables --><!-- /tables -->", encoding="utf-8")
    (line,) = [line for line in other_charts(str(document)).stdout.splitlines() if line.startswith(chart)]
    working = [path for path, given in TABLES[chart].items() if Row(path, given).works]
    assert line == (
        f"{chart}: {len(TABLES[chart])} values, {len(working)} work as they are, "
        f"{len(TABLES[chart]) - len(working)} are answered by name"
    )
    assert len(TABLES[chart]) >= 44
