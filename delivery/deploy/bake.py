"""The bake time: the new version serves everybody, and what it answers is judged by the release's own objectives.

Judged are the raw counters of the new version's pods. They began at zero with the pods, so there is no rate to take, no
window to fill, and no old pod's answers to mistake for theirs.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from delivery.deploy.prometheus import Prometheus
from delivery.deploy.rollout import State
from delivery.deploy.values import Objectives
from toolkit.process import Failure

# In the label `status`: answers within the threshold, of those that are no errors; a pod that answers Prometheus; and
# one that counts requests, be there any or none.
FAST, UP, COUNTING = "fast", "up", "counting"
TASK = "task"  # and attempts at tasks, of which these outcomes are bad
FAILED = {"retried", "failed", "lost"}
ENDED = FAILED | {"done"}  # what was put back for the next pod is no attempt
JUDGED = re.compile("[1-5]..")  # status codes, or classes of them: 5xx
RUNBOOK = "docs/runbooks/ServiceRequestsUnjudged.md"


@dataclass(frozen=True)
class Counts:
    """What a pod, or all of them, have answered."""

    requests: int = 0
    """Those that can be judged."""
    errors: int = 0
    fast: int = 0
    untold: int = 0
    """Requests of which nothing tells whether they failed."""
    untimed: int = 0
    """Of the requests that are no errors, those of which nothing tells whether they were fast."""

    @property
    def slow(self) -> int:
        return max(0, self.requests - self.errors - self.fast - self.untimed)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(*(one - another for one, another in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Limits:
    """How many times as fast as it may be each error budget may be spent, and how many bad answers prove that."""

    objectives: Objectives
    burn_rate: float
    minimum_bad: int
    minimum_requests: int
    failed_tasks: float = 0.5
    """Share of the attempts at a kind of task that may fail; 1 judges none."""

    def crossed(self, seen: Counts) -> str:
        """The limit that is crossed, as a sentence; empty where none is."""
        for what, bad, of, budget in (
            ("errors", seen.errors, seen.requests, self.objectives.errors),
            (
                f"slower than {self.objectives.threshold} s",
                seen.slow,
                seen.requests - seen.errors - seen.untimed,
                self.objectives.slow,
            ),
        ):
            # With many requests a few bad answers are within the budget, and with few requests chance.
            if bad >= self.minimum_bad and budget > 0 and bad / of > budget * self.burn_rate:
                return (
                    f"{bad} of {of} answers of the new version were {what}: the error budget of {budget * 100:g} % is "
                    f"spent {bad / of / budget:.1f} times as fast as it may be, and {self.burn_rate:g} is the limit"
                )
        return ""

    def crossed_by(self, task: str, seen: Counts) -> str:
        """The same for attempts at one kind of task: one kind may be broken while all others are well."""
        if seen.errors < self.minimum_bad or seen.errors <= self.failed_tasks * seen.requests:
            return ""
        return (
            f"{seen.errors} of {seen.requests} attempts of the new version at the task {task} failed, and "
            f"{self.failed_tasks * 100:g} % is the limit"
        )


@dataclass
class Tally:
    """Adds up what pods have answered, and keeps what a pod that is gone had answered."""

    first: dict[str, Counts] = field(default_factory=dict)
    last: dict[str, Counts] = field(default_factory=dict)

    def add(self, sample: dict[str, Counts], older: set[str]) -> None:
        """`older` are the pods that served before this deploy began: of theirs only what comes on top counts."""
        for name, counts in sample.items():
            self.first.setdefault(name, counts if name in older else Counts())
            last = self.last.get(name, Counts())
            if counts.requests + counts.untold >= last.requests + last.untold:
                self.last[name] = counts

    @property
    def total(self) -> Counts:
        return sum((now - self.first[name] for name, now in self.last.items()), Counts())


def query(namespace: str, release: str, pods: list[str], threshold: str, workers: Sequence[str] = ()) -> str:
    """PromQL for each pod's answers by status, for its fast ones, and for what else is known of it; and for how the
    attempts at tasks have ended in these pods and in those of workers, which are no job of the service's."""
    names = "|".join(sorted(pods))
    service = f'namespace="{namespace}",job="{release}",pod=~"{names}"'
    # As a bucket of Prometheus 3 is written, and as one of 2.
    bucket = threshold.replace(".", "[.]") if "." in threshold else f"{threshold}([.]0)?"
    fast = f'http_request_duration_seconds_bucket{{{service},status=~"[1-4]..",le=~"{bucket}"}}'
    also = {
        FAST: f"sum by (pod) ({fast})",
        COUNTING: f"count by (pod) (http_requests_in_flight{{{service}}} or http_probes_total{{{service}}})",
        UP: f"max by (pod) (up{{{service}}} == 1)",
    }
    everybody = "|".join(sorted([*pods, *workers]))
    attempts = f'task_attempts_total{{namespace="{namespace}",pod=~"{everybody}"}}'
    return " or ".join(
        [
            f"sum by (pod, status) (http_request_duration_seconds_count{{{service}}})",
            *(f'label_replace({what}, "status", "{name}", "", "")' for name, what in also.items()),
            f'label_replace(sum by (pod, task, outcome) ({attempts}), "status", "{TASK}", "", "")',
        ]
    )


@dataclass(frozen=True)
class Sample:
    """What Prometheus knows of pods."""

    counts: dict[str, Counts]
    up: set[str]
    """The pods that answer it."""
    counting: set[str]
    """The pods that count their requests, even if there was none."""
    tasks: dict[str, dict[str, Counts]]
    """By kind of task, each pod's attempts: those that failed are its errors."""


def sample(result: list[dict[str, Any]]) -> Sample:
    """From that query's result."""
    found = Sample({}, set(), set(), {})
    timed = set()
    for each in result:
        name, status = each["metric"]["pod"], each["metric"].get("status", "")
        count = round(float(each["value"][1]))
        if status == UP:
            found.up.add(name)
            continue
        if status == TASK:
            outcome = each["metric"].get("outcome", "")
            if outcome in ENDED:
                of = found.tasks.setdefault(each["metric"].get("task", ""), {})
                of[name] = of.get(name, Counts()) + Counts(count, count if outcome in FAILED else 0)
            continue
        found.counting.add(name)
        if status == COUNTING:
            continue
        if status == FAST:
            timed.add(name)
            one = Counts(fast=count)
        elif JUDGED.fullmatch(status):
            one = Counts(count, count if status.startswith("5") else 0)
        else:
            one = Counts(untold=count)
        found.counts[name] = found.counts.get(name, Counts()) + one
    for name in found.counts.keys() - timed:
        counts = found.counts[name]
        found.counts[name] = replace(counts, untimed=counts.requests - counts.errors)
    return found


@dataclass
class Bake:
    """Looks at the new version again and again, from its first pod on. Without `prometheus` only at its pods."""

    prometheus: Prometheus | None
    release: str
    limits: Limits
    every: float
    older: set[str]
    """The pods there were before the deploy began."""
    tally: Tally = field(default_factory=Tally)
    tasks: dict[str, Tally] = field(default_factory=dict)
    """By kind of task."""
    answered: bool = False
    """Whether Prometheus has answered at all."""
    scraped: bool = False
    """Whether a pod of the new version answers Prometheus."""
    counting: bool = False
    """Whether one of them counts its requests."""
    _asked: float = 0.0
    _restarts: dict[str, int] = field(default_factory=dict)
    _was_ready: set[str] = field(default_factory=set)
    _unready: set[str] = field(default_factory=set)

    @property
    def due(self) -> bool:
        """Whether it is time to ask Prometheus again."""
        return self.prometheus is not None and time.monotonic() >= self._asked + self.every

    def look(self, state: State) -> None:
        """Ask Prometheus if it is time to. Raises Failure when a limit is crossed."""
        if self.prometheus is None or not self.due:
            return
        self._asked = time.monotonic()
        pods, *workers = (
            [pod.name for pod in each.pods if pod.template == each.template and each.observed] for each in state.all
        )
        if not pods:
            return
        try:
            text = query(
                self.prometheus.access.namespace,
                self.release,
                pods,
                self.limits.objectives.threshold,
                [name for names in workers for name in names],
            )
            result = self.prometheus.query(text)
        except Failure:
            return  # away for a moment, it is no reason to go back; without any answer nothing is proven
        found = sample(result)
        self.answered = True
        self.scraped = self.scraped or bool(found.up)
        self.counting = self.counting or bool(found.counting)
        self.tally.add(found.counts, self.older)
        if crossed := self.limits.crossed(self.tally.total):
            raise Failure(f"The new version is taken back: {crossed}.")
        for task, counts in found.tasks.items():
            tally = self.tasks.setdefault(task, Tally())
            tally.add(counts, self.older)
            if crossed := self.limits.crossed_by(task, tally.total):
                raise Failure(f"The new version is taken back: {crossed}.")

    def pods(self, state: State) -> None:
        """Raise Failure when a pod of the new version was restarted, or is not ready any more at two looks; one of a
        worker's, too."""
        new = [pod for each in state.all for pod in each.new]
        for each in new:
            if each.restarts > self._restarts.setdefault(each.name, each.restarts):
                raise Failure(f"The new version is taken back: its pod {each.name} was restarted under load.")
        lost = {each.name for each in new if not each.ready} & self._was_ready
        if again := sorted(lost & self._unready):
            raise Failure(f"The new version is taken back: its pod {again[0]} was ready and is not any more.")
        self._unready = lost
        self._was_ready |= {each.name for each in new if each.ready}

    def run(self, seconds: float, state: Callable[[], State], say: Callable[[str], None]) -> None:
        """Watch for that long."""
        end = time.monotonic() + seconds
        while True:
            now = state()
            self.pods(now)
            self.look(now)
            say(self.spelled())
            left = end - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(1.5, left))
        self._asked = 0.0
        self.look(state())

    @property
    def proven(self) -> bool:
        return self.tally.total.requests >= self.limits.minimum_requests and not self.unjudged

    def spelled(self) -> str:
        seen = self.tally.total
        return f"{seen.requests} requests, {seen.errors} errors, {seen.slow} slow"

    @property
    def unjudged(self) -> str:
        """Why requests cannot be judged, however many there are; empty where they can, or nobody asked for it."""
        seen = self.tally.total
        if not self.scraped:
            return ""
        if not self.counting:
            return "its metrics have no http_request_duration_seconds"
        if seen.untold:
            return f"{seen.untold} of {seen.untold + seen.requests} requests have no status code in the label status"
        if seen.untimed:
            return f"its requests have no bucket of {self.limits.objectives.threshold} s that has a status, too"
        return ""

    def unproven(self) -> str:
        """Why nothing is proven."""
        if self.prometheus is None:
            return "no Prometheus was asked"
        if not self.answered:
            return "Prometheus has answered no question"
        if not self.scraped:
            return "Prometheus has got no metrics from its pods yet"
        few = f"{self.tally.total.requests} requests prove nothing: {self.limits.minimum_requests} would"
        return self.unjudged or few
