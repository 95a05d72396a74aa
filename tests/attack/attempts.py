"""Attempts are judged and counted here, group by group, and shown as a table."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.attack.target import Target
from tests.attack.wire import Answer


@dataclass
class Tally:
    """What became of a group: how many attempts were judged, and what got through, by name."""

    group: str
    tried: int = 0
    through: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def held(self) -> int:
        return self.tried - len(self.through)

    def judge(self, name: str, held: bool, told: object = "") -> None:
        """Count one attempt: did the service hold? `told` is what it answered."""
        self.tried += 1
        if not held:
            self.through.append(f"{name}: {told}")

    def refused(self, name: str, answer: Answer, *statuses: int) -> None:
        """Count one request, which should have one of these statuses."""
        self.judge(name, answer.status in statuses, f"{answer}, not {' or '.join(map(str, statuses))}")


# Makes its attempts at a target, and has each of them judged. Some need one that the suite has started.
Group = Callable[[Any, Tally], None]


def run(groups: Iterable[tuple[str, Group]], target: Target) -> list[Tally]:
    """Run the groups one after the other. One that breaks off has not held: it may have broken the service."""
    tallies = []
    for name, group in groups:
        tally = Tally(name)
        tallies.append(tally)
        started = time.monotonic()
        target.move()
        try:
            group(target, tally)
        except Exception as error:
            tally.judge("all that was to follow", False, f"broken off by {error!r}")
        tally.judge("the service still answers", target.ask("GET", "/").status == 200)
        tally.seconds = time.monotonic() - started
    return tallies


def table(tallies: Iterable[Tally], left_out: Iterable[str] = ()) -> str:
    """What became of all groups, and then the name of each attempt that got through."""
    tallies = list(tallies)
    rows: list[tuple[str, ...]] = [
        (t.group, str(t.tried), str(t.held), str(len(t.through)), f"{t.seconds:.1f}") for t in tallies
    ]
    totals = (sum(t.tried for t in tallies), sum(t.held for t in tallies), sum(len(t.through) for t in tallies))
    rows.append(("all", *map(str, totals), f"{sum(t.seconds for t in tallies):.1f}"))
    heads = ("group", "tried", "held", "failed", "seconds")
    lines = [f"{first:<12}" + "".join(f"{cell:>9}" for cell in cells) for first, *cells in [heads, *rows]]
    lines += [f"Left out: {what}" for what in left_out]
    lines += [f"Got through: {tally.group}: {what}" for tally in tallies for what in tally.through]
    return "\n".join(lines)
