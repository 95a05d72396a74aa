"""`make bench`: the service beside bare FastAPI, the usual stack of libraries, and the fastest one of them.

One worker each, on one core, with the load generator on the other; the candidates take turns in every
round, and the figures are medians of the rounds. Half load is half of what the candidate itself can answer.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.candidates import PYTHON, ROOT, Candidate, library_stack, running
from bench.load import load
from bench.service import service

REPORT = ROOT / "build/report/bench.json"
CASES = {"json": "/", "redirect": "/bench"}
WARM_UP_SECONDS = 1
console = Console()


@dataclass(frozen=True)
class Sample:
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    start_s: float


@dataclass(frozen=True)
class Record:
    """Medians: `rps` as fast as it goes, `p50_ms` and `p99_ms` at half of that."""

    case: str
    candidate: str
    rps: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    start_s: float


def measure(candidate: Candidate, seconds: int, directory: Path) -> dict[str, Sample]:
    """One round of one candidate: each case flat out, then at half load."""
    samples = {}
    with running(candidate, directory / f"{candidate.name}.log") as server:
        for case, path in CASES.items():
            load(server.url + path, WARM_UP_SECONDS)
            most = load(server.url + path, seconds)
            half = load(server.url + path, seconds, most.rps / 2)
            if most.errors or half.errors:
                sys.exit(f"{candidate.name} answered {most.errors + half.errors} {case} requests with an error")
            samples[case] = Sample(most.rps, half.p50_ms, half.p99_ms, server.rss_mib(), server.start_s)
    return samples


def summarise(samples: dict[str, list[dict[str, Sample]]]) -> list[Record]:
    records = []
    for case in CASES:
        for name, rounds in samples.items():
            columns = zip(*(tuple(asdict(each[case]).values()) for each in rounds), strict=True)
            records.append(Record(case, name, *(round(statistics.median(column), 4) for column in columns)))
    return records


def show(records: list[Record]) -> None:
    for case, path in CASES.items():
        table = Table(title=f"{case}: GET {path}", title_justify="left")
        for heading in ("", "requests/s", "of bare", "p50 ms", "p99 ms", "memory MiB", "start s"):
            table.add_column(heading, justify="left" if not heading else "right")
        bare = next(each for each in records if (each.case, each.candidate) == (case, "bare"))
        for each in (each for each in records if each.case == case):
            numbers = f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.rss_mib:.0f}", f"{each.start_s:.2f}"
            table.add_row(each.candidate, f"{each.rps:,.0f}", f"{each.rps / bare.rps:.2f}", *numbers)
        console.print(table)


def judge(records: list[Record], same_imports: float) -> bool:
    """Print each bar with what was reached; returns whether all were."""
    ok = True

    def bar(what: str, reached: float, limit: float, at_least: bool) -> None:
        nonlocal ok
        met = reached >= limit if at_least else reached <= limit
        ok = ok and met
        console.print(f"{'met   ' if met else 'MISSED'} {what}: {reached:.2f}, bar {limit:g}", highlight=False)

    for case in CASES:
        of = {each.candidate: each for each in records if each.case == case}
        ours, bare = of["ours"], of["bare"]
        bar(f"{case}: requests/s, of bare", ours.rps / bare.rps, 0.85, True)
        bar(f"{case}: requests/s, of the usual stack", ours.rps / of["usual"].rps, 4, True)
        bar(f"{case}: requests/s, of the fastest libraries", ours.rps / of["pure"].rps, 1.3, True)
        bar(f"{case}: p99 at half load, of bare", ours.p99_ms / bare.p99_ms, 1.3, False)
        bar(f"{case}: memory above bare, MiB", ours.rss_mib - bare.rss_mib, 40, False)
    bar("start to ready, of bare with the same imports", records_start(records) / same_imports, 1.5, False)
    return ok


def records_start(records: list[Record]) -> float:
    return next(each.start_s for each in records if each.candidate == "ours")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load (default: 3)")
    options = parser.parse_args()
    for program, remedy in (("wrk", "install it, as with apt-get install wrk"), (str(PYTHON), "run make bench")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: {remedy}.")
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary, service(Path(temporary)) as ours:
        directory = Path(temporary)
        candidates = [
            library_stack("bare", "FastAPI alone"),
            ours,
            library_stack("usual", "the usual stack"),
            library_stack("pure", "the fastest libraries, pure ASGI"),
        ]
        samples: dict[str, list[dict[str, Sample]]] = {each.name: [] for each in candidates}
        imports: list[float] = []
        for number in range(options.rounds):
            for candidate in candidates:
                console.print(f"round {number + 1} of {options.rounds}: {candidate.name}, {candidate.what}")
                samples[candidate.name].append(measure(candidate, options.seconds, directory))
            with running(library_stack("bare", "", "imports"), directory / "imports.log") as server:
                imports.append(server.start_s)
    records = summarise(samples)
    show(records)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps([asdict(each) for each in records], indent=2) + "\n")
    console.print(f"bare with our imports answers after {statistics.median(imports):.2f} s; {REPORT.relative_to(ROOT)}")
    return 0 if judge(records, statistics.median(imports)) else 1


if __name__ == "__main__":
    sys.exit(main())
