"""`make overload`: what the running local cluster answers under a load that grows past its limit (15 minutes).

First the load is raised step by step, with a rolling restart in the middle of each. Then the service gets so little
CPU that the machine's is enough for three times the load that it can answer, and that is sent for a minute; and then
for ten times. Prints a table in Markdown, and writes build/report/overload.json.
"""

import argparse
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from delivery import tools
from k8s import facts
from k8s.load.open_loop import LOOPBACK
from k8s.load.vegeta import Load, Outcome, quantile
from toolkit.paths import BUILD, CHART, TOOLS, shown
from toolkit.process import Failure, output, run
from toolkit.progress import Progress

REPORT = BUILD / "report" / "overload.json"
STEPS = (100, 200, 300, 400, 500, 600, 800)
STEP_SECONDS = 30
ENOUGH = 0.99  # the share of a load that is answered, for the service to be able to answer it
SOON = 1.0  # seconds within which 99 of 100 answers come then: what only queues up cannot be answered for long
GROWTH, LAST = 1.2, 1200  # requests a second
LOOK_SECONDS = 8
OVERLOAD_SECONDS = 60
RECOVERY_SECONDS = 10


@dataclass(frozen=True)
class Size:
    """Of a service that is past its limit while the ingress and the generator, which share the machine's cores with it,
    are not. The number in flight follows the chart's rule: a second's worth."""

    pods: int
    cpu: str
    """Of each, as Kubernetes writes it."""
    in_flight: int
    first: int
    """The load at which the search for its capacity begins, in requests a second."""

    @property
    def values(self) -> dict[str, str]:
        """Of the chart."""
        return {
            "autoscaling.enabled": "false",
            "replicas": str(self.pods),
            "resources.requests.cpu": self.cpu,
            "resources.limits.cpu": self.cpu,
            "probes.startup.failureThreshold": "150",
            "traefik.inFlight.amount": str(self.in_flight),
        }


# By how many times their capacity is sent.
SIZES = {3: Size(pods=2, cpu="80m", in_flight=250, first=100), 10: Size(pods=1, cpu="50m", in_flight=75, first=30)}


@dataclass(frozen=True)
class Row:
    """A load and what became of it; latencies in milliseconds, of the requests that were answered."""

    what: str
    rate: int
    sent: int
    answered: int
    refused: int
    failed: int
    p50_ms: float
    p99_ms: float
    refused_p99_ms: float

    @staticmethod
    def of(what: str, outcome: Outcome) -> "Row":
        milliseconds = [
            round(1000 * quantile(answers, q), 1)
            for answers, q in ((outcome.served, 0.5), (outcome.served, 0.99), (outcome.refused, 0.99))
        ]
        counts = (outcome.sent, len(outcome.served), len(outcome.refused), len(outcome.failed))
        return Row(what, outcome.rate, *counts, *milliseconds)


@dataclass(frozen=True)
class Overload:
    """What too much of a load did: `answered` is the share of what the service can answer at most."""

    capacity: int
    during: Outcome
    after: Outcome

    @property
    def answered(self) -> float:
        return len(self.during.served) / (self.capacity * OVERLOAD_SECONDS)


Sender = Callable[[int, int], Load]
"""Makes a load of so many requests a second for so many seconds."""


def can_answer(outcome: Outcome) -> bool:
    return len(outcome.served) >= ENOUGH * outcome.sent and quantile(outcome.served, 0.99) <= SOON


def capacity(sender: Sender, first: int) -> int:
    """The most requests a second that are nearly all answered, and soon; found by raising the load until they are not.

    Raises:
        Failure: the first load is already too much.
    """
    sender(first, LOOK_SECONDS).send()  # what is done once, such as opening connections to the database, is not judged
    rate, most = first, 0
    while rate <= LAST:
        outcome = sender(rate, LOOK_SECONDS).send()
        if not can_answer(outcome):
            break
        most, rate = rate, int(rate * GROWTH)
    if not most:
        late = f"p99 {quantile(outcome.served, 0.99):.1f} s" if outcome.served else "none answered"
        raise Failure(f"The service cannot answer {first} requests a second: {outcome.reasons()}, {late}.")
    return most


def overload(sender: Sender, most: int, times: int) -> Overload:
    """Send so many times what the service can answer, and half of it right afterwards."""
    during = sender(times * most, OVERLOAD_SECONDS).send()
    return Overload(most, during, sender(most // 2, 2 * RECOVERY_SECONDS).send())


@contextmanager
def small(size: Size, context: str, namespace: str, release: str) -> Iterator[None]:
    """The release of such a size while the block runs."""
    helm = ["helm", "--kube-context", context, "--namespace", namespace]
    wait = ["--force-conflicts", "--wait", "--timeout", "180s"]
    options = [f"--set={name}={value}" for name, value in size.values.items()]
    run([*helm, "upgrade", release, str(CHART), "--reuse-values", *wait, *options], log="overload")
    try:
        yield
    finally:
        run([*helm, "rollback", release, *wait], log="overload")


@contextmanager
def made_link(found: dict[str, str]) -> Iterator[str]:
    """The address of a short link that exists while the block runs."""
    token = output(["sh", "-c", found["token"]]).strip()
    host = urlsplit(found["url"])
    # To 127.0.0.1 whatever a resolver says of the name, which is that of the certificate.
    url, extensions = f"https://{LOOPBACK}:{host.port}", {"sni_hostname": host.hostname}
    headers = {"Authorization": f"Bearer {token}", "Host": host.netloc}
    trust = ssl.create_default_context(cafile=found["ca"])
    with httpx.Client(base_url=url, verify=trust, timeout=10, headers=headers) as web:
        answer = web.post("/api/v1/links", json={"url": "https://example.com/"}, extensions=extensions)
        if answer.status_code != httpx.codes.CREATED:
            raise Failure(f"The service made no link ({answer.status_code}): {answer.text[:300]}")
        slug = answer.json()["slug"]
        try:
            yield f"{found['url']}/{slug}"
        finally:
            web.delete(f"/api/v1/links/{slug}", extensions=extensions)


def step(sender: Sender, kubectl: list[str], rate: int) -> Outcome:
    """One load with a rolling restart in it; the restart's end is waited for."""
    load = sender(rate, STEP_SECONDS)
    with load.running():
        time.sleep(3)  # the load is under way
        run([*kubectl, "rollout", "restart", "deployment/links"], log="overload")
    run([*kubectl, "rollout", "status", "deployment/links", "--timeout=180s"], log="overload")
    return load.outcome


def past_its_limit(sender: Sender, found: dict[str, str], times: int, size: Size, progress: Progress) -> Overload:
    """So many times what a service of that size can answer, which is found out first."""
    progress.say(f"{size.pods} pods of {size.cpu} of CPU each, for what follows.")
    with small(size, found["context"], found["namespace"], found["release"]):
        with progress.step("what they can answer", 9 * LOOK_SECONDS) as looking:
            most = capacity(sender, size.first)
            looking.detail = f"{most} requests a second"
        with progress.step(f"{times} times as much", OVERLOAD_SECONDS):
            return overload(sender, most, times)


def table(rows: list[Row]) -> str:
    lines = [
        "| load | requests/s | sent | answered | refused | failed | p50 ms | p99 ms | p99 of refusals ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [f"| {' | '.join(_cell(v) for v in asdict(row).values())} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:,.0f}"  # noqa: PLR0124 - not a number
    return f"{value:,}" if isinstance(value, int) else str(value)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--facts", type=Path, default=facts.FILE, help="what `up` wrote (default: build/up.json)")
    parser.add_argument("--steps", type=int, nargs="*", default=STEPS, help="requests a second of each step")
    args = parser.parse_args(argv)
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    try:
        found = facts.load(args.facts)
        kubectl = ["kubectl", "--context", found["context"], "--namespace", found["namespace"]]
        with Progress() as progress, made_link(found) as url:
            program = tools.program("vegeta", progress)

            def sender(rate: int, seconds: int) -> Load:
                return Load(program, url, Path(found["ca"]), rate=rate, seconds=seconds)

            rows: list[Row] = []
            for rate in args.steps:
                with progress.step(f"{rate} requests a second, and a rolling restart", STEP_SECONDS):
                    rows.append(Row.of("with a rolling restart", step(sender, kubectl, rate)))
                progress.say(table(rows[-1:]).splitlines()[-1])
            said = []
            for times, size in SIZES.items():
                result = past_its_limit(sender, found, times, size, progress)
                rows += [Row.of(f"{times} times what they can answer", result.during)]
                rows += [Row.of("right after that", result.after)]
                said.append(f"Under {times} times the load they answered {result.answered:.0%} of what they can.")
    except (Failure, httpx.HTTPError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(table(rows), "", *said, f"Written to {shown(REPORT)}.", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
