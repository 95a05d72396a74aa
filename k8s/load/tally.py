"""What was asked and what came back, in memory that does not grow with the load."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator

STEP = math.log(1.02)  # a latency is known to 2 %
NO_ANSWER = 0
CLASSES = {2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx", NO_ANSWER: "none"}


class Tally:
    """Of one kind of request. Latencies are of answered requests, in seconds."""

    def __init__(self) -> None:
        self.sent = 0
        self.classes: Counter[int] = Counter()
        """Answers by the first digit of their status; NO_ANSWER for none."""
        self.unexpected: Counter[str] = Counter()
        """What came instead of what such a request should get."""
        self._latencies: Counter[int] = Counter()

    def answered(self, status: int, seconds: float) -> None:
        self.sent += 1
        self.classes[status // 100] += 1
        self._latencies[math.ceil(math.log(max(seconds, 1e-6)) / STEP)] += 1

    def unanswered(self) -> None:
        self.sent += 1
        self.classes[NO_ANSWER] += 1

    def quantile(self, q: float) -> float:
        """A latency; 0 if nothing was answered."""
        rank = max(1, math.ceil(q * self._latencies.total()))
        for step in sorted(self._latencies):
            rank -= self._latencies[step]
            if rank <= 0:
                return math.exp(step * STEP)
        return 0.0

    def __iadd__(self, other: "Tally") -> "Tally":
        self.sent += other.sent
        self.classes += other.classes
        self.unexpected += other.unexpected
        self._latencies += other._latencies
        return self


def total(tallies: Iterable[Tally]) -> Tally:
    everything = Tally()
    for tally in tallies:
        everything += tally
    return everything


def rows(tallies: dict[str, Tally]) -> Iterator[list[str]]:
    """Of the summary's table: by kind, and all together."""
    for name, tally in [*tallies.items(), ("all", total(tallies.values()))]:
        counts = [str(tally.classes[key] or "") for key in CLASSES]
        yield [name, str(tally.sent), *counts, *(f"{tally.quantile(q) * 1000:.1f}" for q in (0.5, 0.99))]
