"""What the reports of a run say, as Markdown: a pipeline shows it on the run's page."""

import argparse
import json
from pathlib import Path
from typing import Any

from toolkit.paths import BUILD, ROOT

REPORTS = BUILD / "report"
Row = dict[str, Any]


def rows(file: Path) -> list[Row]:
    """The records of a report that is a list of them; of others none. Half a report, as a run that was ended leaves it,
    is one that failed, and keeps nobody from seeing the others."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return [{"name": "this report cannot be read", "pass": False, "note": str(error)}]
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


def failed(row: Row) -> bool:
    return row.get("pass") is False or (isinstance(row.get("failed"), int) and row["failed"] > 0 and "pass" not in row)


def summary(folder: Path = REPORTS) -> str:
    """A line for each report, then what has failed."""
    lines = ["| report | records | requests sent | failed |", "|---|---:|---:|---:|"]
    bad: list[str] = []
    for file in sorted(folder.glob("*.json")):
        if found := rows(file):
            sent = sum(row["sent"] for row in found if isinstance(row.get("sent"), int))
            wrong = [row for row in found if failed(row)]
            lines.append(f"| {file.name} | {len(found)} | {f'{sent:,}' if sent else ''} | {len(wrong)} |")
            bad += [f"- **{file.stem}**: {describe(row)}" for row in wrong]
    if len(lines) == 2:
        return f"There are no reports in {folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder}."
    return "\n".join([*lines, *(["", "Failed:", *bad] if bad else [])])


def describe(row: Row) -> str:
    """What a record is about, in its own words."""
    name = row.get("name") or " ".join(str(row[key]) for key in ("judge", "scenario") if key in row) or json.dumps(row)
    note = f" ({row['note']})" if row.get("note") else ""
    return " ".join(f"{name}{note}".split())  # of one line, as an item of a list is


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("summary", help="what the reports in build/report say, as Markdown")
    command.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    print(summary())
    return 0
