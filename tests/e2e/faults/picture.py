"""Requests over time as a picture, one strip a scenario: `build/report/faults.svg`.

Each second is a bar. What was done to the service is the band behind it, and requests that failed are red.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from tests.e2e.faults.record import Fault

LABEL, STRIP, COUNTS, ROW, BAR = 380, 560, 250, 26, 18  # pixels
HIGHEST = 0.75 * BAR  # so that the band is seen above
INK, FAINT, SENT, FAILED, BAND = "#24292f", "#57606a", "#8ea7c6", "#cf222e", "#ffe08a"
FONT = "font-family='system-ui, sans-serif' font-size='12'"


def svg(faults: Sequence[Fault]) -> str:
    """Of each scenario the run in which most failed; where none did, the one that was longest in recovering."""
    rows = [max(runs, key=_badness) for _, runs in groupby(faults, key=lambda each: each.scenario)]
    longest = max(len(row.each_second) for row in rows)
    height = ROW * (len(rows) + 2)
    width = LABEL + STRIP + COUNTS
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {FONT} role='img'>",
        "<title>Requests and failures over time, by scenario</title>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        *(line for number, row in enumerate(rows) for line in _strip(row, ROW * (number + 1), STRIP / longest)),
        f"<text x='{LABEL}' y='{height - 8}' fill='{FAINT}'>seconds: 0</text>",
        f"<text x='{LABEL + STRIP}' y='{height - 8}' fill='{FAINT}' text-anchor='end'>{longest}</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _badness(fault: Fault) -> tuple[int, float]:
    return sum(fault.failed.values()), fault.recovery_seconds


def _strip(fault: Fault, top: int, second: float) -> Iterable[str]:
    """One row; `second` is the width of a bar."""
    text = top + BAR - 5
    yield f"<text x='{LABEL - 10}' y='{text}' fill='{INK}' text-anchor='end'>{escape(fault.scenario)}</text>"
    begun, done = (min(at, len(fault.each_second)) * second for at in (fault.began, max(fault.began, fault.ended)))
    yield f"<rect x='{LABEL + begun:.1f}' y='{top}' width='{max(done - begun, 1):.1f}' height='{BAR}' fill='{BAND}'/>"
    most = max((sent for sent, _ in fault.each_second), default=1) or 1
    for number, (sent, failed) in enumerate(fault.each_second):
        left, width = LABEL + number * second, max(second - 0.6, 0.6)
        # One failure among many is to be seen, too.
        for count, least, colour in ((sent, 0, SENT), (failed, 3, FAILED)):
            if count:
                tall = max(HIGHEST * count / most, least)
                place = f"x='{left:.1f}' y='{top + BAR - tall:.1f}' width='{width:.1f}' height='{tall:.1f}'"
                yield f"<rect {place} fill='{colour}'/>"
    failed = sum(fault.failed.values())
    counts = f"{failed:,} of {fault.sent:,} failed, {fault.lost} lost"
    colour = FAILED if failed else INK
    yield f"<text x='{LABEL + STRIP + 10}' y='{text}' fill='{colour}'>{counts}</text>"
