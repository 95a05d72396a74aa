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
from bench.service import services

REPORT = ROOT / "build/report/bench.json"
# What is asked, and which candidate the others are held against.
CASES = {
    "json": ("GET /", "bare"),
    "redirect": ("GET /bench", "bare"),
    "create": ("POST /api/v1/links", "stored"),
}
LEAST = {"json": 1.0, "redirect": 1.5, "create": 0.9}  # requests/s, of that candidate's
MOST_P99 = {"json": 1.3, "redirect": 1.3, "create": 1.2}
WARM_UP_SECONDS = 1
console = Console()


@dataclass(frozen=True)
class Sample:
    rps: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    start_s: float
    start_cpu_s: float


@dataclass(frozen=True)
class Record:
    """Medians: `rps` as fast as it goes, at `cpu_us` of CPU time each; `p50_ms` and `p99_ms` at half of that."""

    case: str
    candidate: str
    rps: float
    cpu_us: float
    p50_ms: float
    p99_ms: float
    rss_mib: float
    start_s: float
    start_cpu_s: float


def measure(candidate: Candidate, token: str, seconds: int, directory: Path) -> dict[str, Sample]:
    """One round of one candidate: each of its cases flat out, then at half load. `token` may make links."""
    samples = {}
    with running(candidate, directory / f"{candidate.name}.log") as server:
        for case in candidate.cases:
            method, path = CASES[case][0].split()
            url, bearer = server.url + path, token if method == "POST" else ""
            load(url, WARM_UP_SECONDS, token=bearer)
            before = server.cpu_s()
            most = load(url, seconds, token=bearer)
            cpu_us = (server.cpu_s() - before) / most.requests * 1e6
            half = load(url, seconds, most.rps / 2, bearer)
            if most.errors or half.errors:
                sys.exit(f"{candidate.name} answered {most.errors + half.errors} {case} requests with an error")
            started = server.start_s, server.start_cpu_s
            samples[case] = Sample(most.rps, cpu_us, half.p50_ms, half.p99_ms, server.rss_mib(), *started)
    return samples


def summarise(samples: dict[str, list[dict[str, Sample]]]) -> list[Record]:
    records = []
    for case in CASES:
        for name, rounds in samples.items():
            if case in rounds[0]:
                columns = zip(*(tuple(asdict(each[case]).values()) for each in rounds), strict=True)
                records.append(Record(case, name, *(round(statistics.median(column), 4) for column in columns)))
    return records


def show(records: list[Record]) -> None:
    for case, (request, base) in CASES.items():
        table = Table(title=f"{case}: {request}", title_justify="left")
        for heading in ("", "req/s", f"of {base}", "CPU µs", "p50 ms", "p99 ms", "MiB", "start s", "CPU s"):
            table.add_column(heading, justify="left" if not heading else "right")
        of = {each.candidate: each for each in records if each.case == case}
        for name, each in of.items():
            speed = f"{each.rps:,.0f}", f"{each.rps / of[base].rps:.2f}", f"{each.cpu_us:.0f}"
            numbers = f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}", f"{each.rss_mib:.0f}"
            table.add_row(name, *speed, *numbers, f"{each.start_s:.2f}", f"{each.start_cpu_s:.2f}")
        console.print(table)


def judge(records: list[Record], same_imports: float) -> bool:
    """Print each bar with what was reached; returns whether all were."""
    ok = True

    def bar(what: str, reached: float, limit: float, at_least: bool) -> None:
        nonlocal ok
        met = reached >= limit if at_least else reached <= limit
        ok = ok and met
        console.print(f"{'met   ' if met else 'MISSED'} {what}: {reached:.2f}, bar {limit:g}", highlight=False)

    for case, (_, base) in CASES.items():
        of = {each.candidate: each for each in records if each.case == case}
        ours, other = of["ours"], of[base]
        bar(f"{case}: requests/s, of {base}", ours.rps / other.rps, LEAST[case], True)
        bar(f"{case}: p99 at half load, of {base}", ours.p99_ms / other.p99_ms, MOST_P99[case], False)
        if base == "bare":
            bar(f"{case}: requests/s, of the usual stack", ours.rps / of["usual"].rps, 4, True)
            bar(f"{case}: requests/s, of the fastest libraries", ours.rps / of["pure"].rps, 1.3, True)
            bar(f"{case}: memory above bare, MiB", ours.rss_mib - other.rss_mib, 20, False)
    bar("start to ready, of bare with the same imports", ours.start_s / same_imports, 1.5, False)
    bar("start to ready, seconds of CPU", ours.start_cpu_s, 0.6, False)
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load (default: 3)")
    options = parser.parse_args()
    for program, remedy in (("wrk", "install it, as with apt-get install wrk"), (str(PYTHON), "run make bench")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: {remedy}.")
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary, services(Path(temporary)) as (ours, stored, token):
        directory = Path(temporary)
        candidates = [
            library_stack("bare", "FastAPI alone"),
            ours,
            library_stack("usual", "the usual stack"),
            library_stack("pure", "the fastest libraries, pure ASGI"),
            stored,
        ]
        samples: dict[str, list[dict[str, Sample]]] = {each.name: [] for each in candidates}
        imports: list[float] = []
        for number in range(options.rounds):
            for candidate in candidates:
                console.print(f"round {number + 1} of {options.rounds}: {candidate.name}, {candidate.what}")
                samples[candidate.name].append(measure(candidate, token, options.seconds, directory))
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
