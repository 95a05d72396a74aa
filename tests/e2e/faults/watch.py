"""What a scenario does to those who use the service meanwhile: what failed, what was lost, and when it was over."""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.e2e.faults.record import Fault
from tests.e2e.load import WRITE_FAILED, Load, Result
from tests.e2e.machine import slowness

# How a write is refused by the service itself, which has kept nothing of it.
REFUSED = (f"{WRITE_FAILED}status 503 of the service",)
# How a write ends whose pod was killed: the ingress does not send it to another one.
CUT = (f"{WRITE_FAILED}status 502 of the ingress", f"{WRITE_FAILED}status 503 of the ingress")
# How a request ends that nobody answers: its connection is open, and leads nowhere.
UNANSWERED = ("TimeoutError", f"{WRITE_FAILED}TimeoutError")


@dataclass
class Watch:
    """A load, and from when to when something was done to the service, on the clock of time.monotonic."""

    load: Load
    began: float = 0.0
    ended: float = 0.0
    lost: set[str] = field(default_factory=set)
    """Of the acknowledged writes those that the database has not."""
    troubles: list[str] = field(default_factory=list)
    """In a scenario's own words, what did not hold."""

    @property
    def result(self) -> Result:
        return self.load.result

    def begin(self) -> None:
        """What is done is done by now; what it took to do it does not count."""
        self.began = time.monotonic()

    def over(self) -> None:
        """What was done is over: from now on all is to be well soon."""
        self.ended = time.monotonic()

    def quantile(self, q: float, *, before: bool) -> float:
        """Of the seconds that requests took before it was done, or meanwhile; 0 where none was answered."""
        began, ended = self.began - self.result.begin, self.ended - self.result.begin
        return self.result.quantile(q, 0.0, began) if before else self.result.quantile(q, began, ended)

    @property
    def recovery(self) -> float:
        """Seconds from there to the last request that failed; 0 where none did."""
        failed = [self.result.begin + at for at, _ in self.result.failures]
        return max(0.0, max(failed, default=0.0) - self.ended)

    def judge(self, may_fail: Iterable[str], recovers: float) -> None:
        """Add to the troubles what breaks the promise: only reasons of `may_fail`, and for so many seconds at most,
        which are those of a machine at full speed."""
        result = self.result
        if result.rate < 0.9 * self.load.rate:
            self.troubles.append(f"only {result.rate:.0f} requests a second were sent: nothing was proven")
        others = Counter(reason for _, reason in result.failures if reason not in set(may_fail))
        if others:
            self.troubles.append(f"{dict(others)} failed; in all {result.reasons()}")
        if self.recovery > recovers * slowness():
            self.troubles.append(f"the last one failed {self.recovery:.1f} s after the end, {recovers:.0f} s allowed")
        if self.lost:
            self.troubles.append(f"{len(self.lost)} of {len(result.made)} writes were acknowledged and lost")

    def record(self, scenario: str, run: int, *, passed: bool) -> Fault:
        """As build/report/faults.json has it."""
        result = self.result
        at = [when for when, _ in result.answers] + [when for when, _ in result.failures]
        sent, failed = Counter(map(int, at)), Counter(int(when) for when, _ in result.failures)
        return Fault(
            scenario=scenario,
            run=run,
            sent=result.sent,
            written=len(result.made),
            failed=dict(Counter(reason for _, reason in result.failures)),
            lost=len(self.lost),
            p50=round(result.quantile(0.5), 4),
            p99=round(result.quantile(0.99), 4),
            recovery_seconds=round(self.recovery, 1),
            began=round(self.began - result.begin, 1),
            ended=round(self.ended - result.begin, 1),
            each_second=[(sent[second], failed[second]) for second in range(max(sent, default=-1) + 1)],
            passed=passed,
        )
