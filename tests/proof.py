"""`make proof`: the tables of docs/proof.md and its picture, from what the last runs have left in build/report.

Each table stands between `<!-- NAME -->` and `<!-- /NAME -->`. One whose report is not there stays as it is.
"""

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from toolkit.paths import BUILD, ROOT, shown

PAGE = ROOT / "docs" / "proof.md"
REPORTS = BUILD / "report"
PICTURE = REPORTS / "faults.svg"
CANDIDATES = {
    "bare": "FastAPI on uvicorn, with nothing",
    "ours": "this service, with everything",
    "usual": "FastAPI with the usual libraries",
    "pure": "the fastest libraries, pure ASGI",
    "stored": "FastAPI with SQLAlchemy's ORM, with nothing else",
}
BASES = {"bare", "stored"}
Report = list[dict[str, Any]]


def scenarios(report: Report) -> str:
    """Requests that were sent and that failed, and how long it took."""
    lines = ["| scenario | sent | failed | took | |", "|---|---:|---:|---:|---|"]
    for row in report:
        counts = f"{row['sent']:,} | {row['failed']:,}" if row["sent"] else " | "
        took = f"{row['seconds']:.0f} s" if row["seconds"] >= 1 else ""
        lines.append(f"| {row['name']} | {counts} | {took} | {row['note']} |")
    return "\n".join(lines)


def faults(report: Report) -> str:
    """All runs of a scenario together: percentiles and recovery of the worst."""
    lines = [
        "| scenario | runs | sent | written | failed | lost | p50 ms | p99 ms | recovered after |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(row["scenario"] for row in report):
        runs = [row for row in report if row["scenario"] == name]
        kinds = Counter[str]()
        for row in runs:
            kinds.update(row["failed"])
        failed = ", ".join(f"{count:,} x {kind}" for kind, count in kinds.items()) or "0"
        sums = " | ".join(f"{sum(row[key] for row in runs):,}" for key in ("sent", "written"))
        worst = {key: max(row[key] for row in runs) for key in ("p50", "p99", "recovery_seconds")}
        times = f"{worst['p50'] * 1000:.0f} | {worst['p99'] * 1000:.0f}"
        recovered = f"{worst['recovery_seconds']:.1f} s" if kinds else ""
        lost = sum(row["lost"] for row in runs)
        lines.append(f"| {name} | {len(runs)} | {sums} | {failed} | {lost} | {times} | {recovered} |")
    return "\n".join(lines)


def alerts(report: dict[str, Report]) -> str:
    """Each alert, its cause, and how long it took until somebody was told."""
    lines = ["| alert | made to fire by | told after | its end, too |", "|---|---|---:|---|"]
    for row in report["alerts"]:
        told = f"{max(0, row['seconds_to_fire'] or 0):.0f} s" if row["fired"] else "never"
        lines.append(f"| {row['name']} | {row['cause']} | {told} | {'yes' if row['resolved'] else 'no'} |")
    return "\n".join(lines)


def bench(report: Report) -> str:
    """Requests a second by candidate and case; the ratio is to FastAPI's own way of the same case."""
    lines = [
        "| | | requests/s | of FastAPI | CPU µs | p50 ms | p99 ms | memory MiB | start s | of CPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    base = {row["case"]: row["rps"] for row in report if row["candidate"] in BASES}
    for row in report:
        speed = f"{row['rps']:,.0f} | {row['rps'] / base[row['case']]:.2f} | {row['cpu_us']:.0f}"
        rest = f"{row['rss_mib']:.0f} | {row['start_s']:.2f} | {row['start_cpu_s']:.2f}"
        who = CANDIDATES.get(row["candidate"], row["candidate"])
        lines.append(f"| {row['case']} | {who} | {speed} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {rest} |")
    return "\n".join(lines)


TABLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "e2e": ("e2e.json", scenarios),
    "faults": ("faults.json", faults),
    "others": ("others.json", faults),
    "delivery": ("delivery.json", scenarios),
    "alerts": ("observability.json", alerts),
    "bench": ("bench.json", bench),
}


def written(page: str, reports: Path = REPORTS) -> str:
    """The page with each table anew whose report is there.

    Raises:
        ValueError: the page has no place for one, or a report cannot be read.
    """
    for name, (file, table) in TABLES.items():
        report = reports / file
        if not report.exists():
            continue
        day = datetime.fromtimestamp(report.stat().st_mtime, UTC).date()
        place = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        if not place.search(page):
            raise ValueError(f"{shown(PAGE)} has no place for {name}: write <!-- {name} --> and <!-- /{name} -->")
        try:
            text = f"<!-- {name} -->\n{table(json.loads(report.read_text(encoding='utf-8')))}\n\nMeasured on {day}."
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is no whole report ({error!r}): run what writes it again") from error
        page = place.sub(lambda _, text=text, name=name: f"{text}\n<!-- /{name} -->", page)  # type: ignore[misc]
    return page


def main() -> None:
    missing = [file for file, _ in TABLES.values() if not (REPORTS / file).exists()]
    try:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    except ValueError as error:
        sys.exit(str(error))
    if PICTURE.exists():
        shutil.copy(PICTURE, ROOT / "docs" / "images")
    for file in missing:
        print(f"{shown(REPORTS / file)} is not there: its table stays as it was")  # noqa: T201


if __name__ == "__main__":
    main()
