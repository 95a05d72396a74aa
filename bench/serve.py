"""`make bench-serve`: an application served by keel.serve beside the same one under plain uvicorn, in turns.

Plain is `uvicorn module:app`, which logs each request, as keel.serve does; quiet is that without the log. All run at
once, with one worker each on one core, and the load generator on the other asks one after another, a second each. So
what else the machine does meets all of them alike, and a figure is the median of the rounds' ratios.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.candidates import PORT, PYTHON, ROOT, Candidate, Running, running
from bench.load import load

REPORT = ROOT / "build/report/bench-serve.json"
TARGET = "bench.apps.foreign:app"
LEAST = 0.95  # of the requests/s under plain uvicorn
console = Console()


@dataclass(frozen=True)
class Sample:
    rps: float
    cpu_us: float
    p99_ms: float
    rss_mib: float


def uvicorn(name: str, what: str, port: int, *options: str) -> Candidate:
    return Candidate(name, what, ["-m", "uvicorn", TARGET, f"--port={port}", *options], ready=url(port))


def served(port: int) -> Candidate:
    environment = {
        "APP_HOST": "127.0.0.1",
        "APP_PORT": str(port),
        "APP_MANAGEMENT_HOST": "127.0.0.1",
        "APP_MANAGEMENT_PORT": str(port + 1),
        "APP_DRAIN_DELAY_SECONDS": "0",
    }
    return Candidate("served", "keel.serve", ["-m", "keel.serve", TARGET], environment, ready=url(port))


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def measure(candidate: Candidate, server: Running, seconds: int) -> Sample:
    before = server.cpu_s()
    found = load(candidate.ready, seconds)
    if found.errors:
        sys.exit(f"{candidate.name} answered {found.errors} requests with an error")
    cpu_us = (server.cpu_s() - before) / found.requests * 1e6
    return Sample(found.rps, cpu_us, found.p99_ms, server.rss_mib())


def ratio(samples: dict[str, list[Sample]], base: str, figure: str) -> float:
    """The median over the rounds of what `served` reaches of another one."""
    pairs = zip(samples["served"], samples[base], strict=True)
    return float(statistics.median(getattr(ours, figure) / getattr(other, figure) for ours, other in pairs))


def show(samples: dict[str, list[Sample]]) -> None:
    table = Table(title=f"GET / of {TARGET}", title_justify="left")
    for heading in ("", "req/s", "CPU µs", "p99 ms", "MiB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, rounds in samples.items():
        rps, cpu, p99, rss = (statistics.median(column) for column in zip(*map(_figures, rounds), strict=True))
        table.add_row(name, f"{rps:,.0f}", f"{cpu:.0f}", f"{p99:.2f}", f"{rss:.0f}")
    console.print(table)
    for base in ("plain", "quiet"):
        figures = f"requests/s {ratio(samples, base, 'rps'):.2f}, CPU of a request {ratio(samples, base, 'cpu_us'):.2f}"
        console.print(f"of {base}: {figures}", highlight=False)


def _figures(sample: Sample) -> tuple[float, ...]:
    return tuple(asdict(sample).values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=1, help="of each load (default: 1)")
    options = parser.parse_args()
    for program, remedy in (("wrk", "install it, as with apt-get install wrk"), (str(PYTHON), "run make bench-serve")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing: {remedy}.")
    candidates = [
        uvicorn("plain", "uvicorn", PORT),
        uvicorn("quiet", "uvicorn without its access log", PORT + 1, "--no-access-log"),
        served(PORT + 2),
    ]
    samples: dict[str, list[Sample]] = {each.name: [] for each in candidates}
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary, ExitStack() as stack:
        servers = [
            (each, stack.enter_context(running(each, Path(temporary) / f"{each.name}.log"))) for each in candidates
        ]
        for number in range(-1, options.rounds):  # the first round warms them up
            for candidate, server in servers[number % 3 :] + servers[: number % 3]:
                sample = measure(candidate, server, options.seconds)
                if number >= 0:
                    samples[candidate.name].append(sample)
    show(samples)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    report = {name: [asdict(each) for each in rounds] for name, rounds in samples.items()}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    reached = ratio(samples, "plain", "rps")
    met = reached >= LEAST
    console.print(f"{'met   ' if met else 'MISSED'} requests/s, of plain uvicorn: {reached:.2f}, bar {LEAST}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
