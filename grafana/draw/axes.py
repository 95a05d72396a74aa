"""Where round numbers and round times lie on an axis."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

MOST_TICKS = 5
HEADROOM = 0.03
SECONDS = (1, 2, 5, 10, 15, 30)
STEPS = (
    *SECONDS,
    *(60 * each for each in SECONDS),
    *(3600 * each for each in (1, 2, 3, 6, 12)),
    *(86_400 * each for each in (1, 2, 7, 14, 28)),
)


@dataclass(frozen=True)
class Axis:
    """Of values, from the least to the most that fit."""

    least: float
    most: float
    ticks: list[float]

    def share(self, value: float) -> float:
        """How far up a value is: 0 at the bottom, 1 at the top."""
        return (value - self.least) / (self.most - self.least)


def values(found: Iterable[float], unit: str, least: float | None = None, most: float | None = None) -> Axis:
    """An axis for what was found; `least` and `most` are fixed ends."""
    known = list(found)
    low = min(known) if least is None else least
    high = max(known) if most is None else most
    if high <= low:
        low, high = (low, low + 1) if most is None else (high - 1, high)
    whole = unit in ("none", "short") and all(value == round(value) for value in known)
    step = _step((high - low) / MOST_TICKS, unit, whole)
    # A hair of tolerance: 0.3 / 0.1 is a little less than 3.
    first = math.floor(low / step + 1e-9) if least is None else math.ceil(low / step - 1e-9)
    last = math.ceil(high / step - 1e-9) if most is None else math.floor(high / step + 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    bottom, top = (ticks[0] if least is None else low), (ticks[-1] if most is None else high)
    # A line at the very top would be cut.
    return Axis(bottom, max(top, high + (high - bottom) * HEADROOM), ticks)


def _step(at_least: float, unit: str, whole: bool) -> float:
    """The next larger round number."""
    if unit == "s" and at_least > STEPS[0]:
        return next((float(each) for each in STEPS if each >= at_least), float(STEPS[-1]))
    if unit == "bytes":
        return float(2 ** max(0, math.ceil(math.log2(at_least))))
    size = 10.0 ** math.floor(math.log10(at_least))
    step = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= at_least * (1 - 1e-9))
    return max(1.0, math.ceil(step)) if whole else step


def times(start: float, end: float, most: int, zone: tzinfo | None = None) -> list[tuple[float, str]]:
    """Round times between two, at most so many, with what to write there: in the machine's time zone, or another."""
    step = next((each for each in STEPS if (end - start) / each <= most), STEPS[-1])
    offset = (local(start, zone).utcoffset() or UTC.utcoffset(None)).total_seconds()
    first = math.ceil((start + offset) / step)
    last = math.floor((end + offset) / step)
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86_400 else "%d %b"
    found = [number * step - offset for number in range(first, last + 1)]
    return [(time, local(time, zone).strftime(form)) for time in found]


def local(time: float, zone: tzinfo | None = None) -> datetime:
    return datetime.fromtimestamp(time, UTC).astimezone(zone)
