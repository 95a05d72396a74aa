"""What the end-to-end tests leave in build/report, and show as tables when they end."""

import io
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.e2e.faults import picture
from tests.e2e.faults.record import Fault
from toolkit.paths import BUILD

FOLDER = BUILD / "report"
LONGEST = 12  # tests that are shown with what they took of the machine


@dataclass
class Record:
    """One scenario, as build/report/e2e.json and delivery.json have it."""

    name: str
    sent: int
    failed: int
    seconds: float
    passed: bool
    note: str = ""


@dataclass(frozen=True)
class Spent:
    """What a test took of the machine, set-up included: e2e-times.json shows where the next cut is."""

    test: str
    file: str
    seconds: float
    cores_busy: float  # of all cores, whoever for; the rest the test has waited
    load: float  # the load average of the last minute, at its end


@dataclass
class Reports:
    """What one process has seen."""

    scenarios: list[Record] = field(default_factory=list)
    delivered: list[Record] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    others: list[Fault] = field(default_factory=list)
    """What images of others, or on other charts, went through."""
    alerts: list[dict[str, object]] = field(default_factory=list)
    panels: list[dict[str, object]] = field(default_factory=list)
    times: list[Spent] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """Lists and dicts alone, which may go from one process to another."""
        return asdict(self)

    def add(self, plain: dict[str, Any]) -> None:
        """What another process has seen."""
        self.scenarios += [Record(**row) for row in plain["scenarios"]]
        self.delivered += [Record(**row) for row in plain["delivered"]]
        self.faults += [Fault(**row) for row in plain["faults"]]
        self.others += [Fault(**row) for row in plain["others"]]
        self.alerts += plain["alerts"]
        self.panels += plain["panels"]
        self.times += [Spent(**row) for row in plain["times"]]

    def write(self) -> str:
        """Write the files, and return the tables."""
        tables = []
        for title, records, file in (
            ("End to end", self.scenarios, "e2e.json"),
            ("Delivery", self.delivered, "delivery.json"),
        ):
            if records:
                _write(file, [{("pass" if k == "passed" else k): v for k, v in asdict(r).items()} for r in records])
                tables.append(_scenarios(title, records))
        if self.faults:
            _write("faults.json", [asdict(fault) for fault in self.faults])
            (FOLDER / "faults.svg").write_text(picture.svg(self.faults))
            tables.append(_faults("Faults", self.faults))
        if self.others:
            _write("others.json", [asdict(fault) for fault in self.others])
            tables.append(_faults("Images of others", self.others))
        if self.alerts or self.panels:
            _write("observability.json", {"alerts": self.alerts, "panels": self.panels})
        if self.times:
            _write("e2e-times.json", [asdict(spent) for spent in self.times])
            tables.append(_longest(self.times))
        return "\n".join(tables)


def busy_seconds() -> float:
    """CPU seconds that the machine has worked since its start, whoever for (proc_stat(5))."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _write(name: str, content: object) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_text(json.dumps(content, indent=2) + "\n")


def _scenarios(title: str, records: list[Record]) -> str:
    table = Table(title=title, title_justify="left")
    for column in ("scenario", "sent", "failed", "seconds", "", "note"):
        table.add_column(column, justify="right" if column in {"sent", "failed", "seconds"} else "left")
    for r in records:
        table.add_row(
            r.name,
            str(r.sent or ""),
            str(r.failed) if r.sent else "",
            f"{r.seconds:.1f}",
            "ok" if r.passed else "FAILED",
            r.note,
        )
    return _text(table)


def _faults(title: str, faults: list[Fault]) -> str:
    table = Table(title=title, title_justify="left")
    numbers = ("run", "sent", "written", "failed", "lost", "p50 ms", "p99 ms", "recovered s")
    for column in ("scenario", *numbers, ""):
        table.add_column(column, justify="right" if column in numbers else "left")
    for each in faults:
        counts = [each.run, each.sent, each.written, sum(each.failed.values()), each.lost]
        times = [f"{each.p50 * 1000:.0f}", f"{each.p99 * 1000:.0f}", f"{each.recovery_seconds:.1f}"]
        table.add_row(each.scenario, *map(str, counts), *times, "ok" if each.passed else "FAILED")
    return _text(table)


def _longest(times: list[Spent]) -> str:
    table = Table(title=f"The longest of {len(times)}, and how busy the machine was", title_justify="left")
    for column in ("test", "seconds", f"of {os.cpu_count()} cores busy"):
        table.add_column(column, justify="left" if column == "test" else "right", no_wrap=True)
    for spent in sorted(times, key=lambda each: -each.seconds)[:LONGEST]:
        table.add_row(f"{spent.file}: {spent.test}"[:100], f"{spent.seconds:.1f}", f"{spent.cores_busy:.2f}")
    return _text(table)


def _text(table: Table) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()
