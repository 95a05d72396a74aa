"""Writes the tables of docs/values-of-other-charts.md from the chart's files/other-charts.yaml, and counts them.

    python charts/other_charts.py charts/fastapi-service docs/values-of-other-charts.md            writes the tables
    python charts/other_charts.py charts/fastapi-service docs/values-of-other-charts.md --check    fails when one is old

The tables stand in the document between `<!-- tables -->` and `<!-- /tables -->`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

BEGIN, END = "<!-- tables -->", "<!-- /tables -->"


class Row(NamedTuple):
    """A value of another chart; `when` is the type it has there, where ours has another."""

    path: str
    ours: list[str]
    note: str
    when: str

    @property
    def works(self) -> bool:
        """Whether it can be given to this chart as it is."""
        return self.ours == [self.path] and not self.when


def read(chart: Path) -> dict[str, list[Row]]:
    """The rows of each chart."""
    loaded = yaml.safe_load((chart / "files" / "other-charts.yaml").read_text(encoding="utf-8"))
    return {name: [_row(path, given) for path, given in rows.items()] for name, rows in loaded.items()}


def _row(path: str, given: Any) -> Row:
    row = given if isinstance(given, dict) else {"ours": given}
    ours = row.get("ours", [])
    return Row(path, ours if isinstance(ours, list) else [ours], row.get("note", ""), row.get("when", ""))


def tables(charts: dict[str, list[Row]]) -> str:
    return "\n\n".join(f"## {name}\n\n{_table(rows)}" for name, rows in charts.items())


def _table(rows: list[Row]) -> str:
    lines = [f"| `{_shown(row)}` | {_ours(row)} | {row.note.replace('|', '/')} |" for row in rows]
    return "\n".join(["| There | Here | Note |", "| --- | --- | --- |", *lines])


def _shown(row: Row) -> str:
    return row.path.replace("|", "/")


def _ours(row: Row) -> str:
    return "the same" if row.works else ", ".join(f"`{each}`" for each in row.ours) or "none"


def count(charts: dict[str, list[Row]]) -> list[str]:
    """A line for each chart: how many of its values work as they are, and how many are answered by name."""
    works = {name: sum(row.works for row in rows) for name, rows in charts.items()}
    return [
        f"{name}: {len(rows)} values, {works[name]} work as they are, {len(rows) - works[name]} are answered by name"
        for name, rows in charts.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the tables of other charts' values.")
    parser.add_argument("chart", type=Path, help="the chart's directory")
    parser.add_argument("document", type=Path, help="the document with the tables")
    parser.add_argument("--check", action="store_true", help="only fail when a table is out of date")
    arguments = parser.parse_args()

    document: Path = arguments.document
    try:
        charts = read(arguments.chart)
        old = document.read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"{arguments.chart}: {error}")
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{document} has no place for the tables: write a line {BEGIN} and a line {END}")
    new = f"{before}{BEGIN}\n\n{tables(charts)}\n\n{END}{after}"
    if not arguments.check:
        document.write_text(new, encoding="utf-8")
        sys.stdout.write("".join(f"{line}\n" for line in count(charts)))
    elif new != old:
        sys.exit(f"{document} is out of date: run python charts/other_charts.py {arguments.chart} {document}")


if __name__ == "__main__":
    main()
