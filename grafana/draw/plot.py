"""The frame of what is drawn over time: lines for round values and times, what is written beside them, and marks.

What is drawn stretches with the page, from 0 to SIZE both ways; texts lie above it at shares of its width and height.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana.draw import axes
from grafana.draw.colors import NAMED
from grafana.draw.markup import Markup, tag
from grafana.draw.source import Window
from grafana.draw.view import View, named
from grafana.queries import Json

SIZE = 1000
# How many times can be written beside each other under a panel as wide as one of 24 columns.
TIMES_A_COLUMN = 0.75
# One further right would be cut.
LAST_TIME = 0.96
LEAST_ROOM = 3  # letters


@dataclass(frozen=True)
class Mark:
    """Something that happened."""

    time: float
    text: str
    color: str


def marks(dashboard: Json, view: View) -> list[Mark]:
    """What a dashboard's annotations mark in the time shown."""
    found = []
    for each in dashboard["annotations"]["list"]:
        color = NAMED[each["iconColor"]]
        for line in view.prometheus.range(view.fill_in(each["expr"]), view.window):
            text = named(each["titleFormat"], line.labels)
            if each["useValueForTime"]:
                times = {point / 1000 for point in line.points if point is not None}
            else:
                pairs = zip([None, *line.points], line.points, view.window.times, strict=False)
                times = {time for before, point, time in pairs if before is None and point is not None}
            found += [Mark(time, text, color) for time in times if 0 <= view.window.share(time) <= 1]
    return sorted(found, key=lambda mark: mark.time)


def frame(
    drawn: Markup,
    window: Window,
    labels: Sequence[tuple[float, str]],
    width: int,
    happened: Sequence[Mark],
    above: str = "",
) -> Markup:
    """`labels` are beside the axis, at shares of its height; `width` is the panel's, in columns."""
    times = axes.times(window.start, window.end, max(2, int(width * TIMES_A_COLUMN)))
    grid = [path(f"M0 {y(share)}H{SIZE}", class_="grid") for share, _ in labels]
    grid += [path(f"M{x(window.share(time))} 0V{SIZE}", class_="grid") for time, _ in times]
    picture = tag("svg", *grid, drawn, viewBox=f"0 0 {SIZE} {SIZE}", preserveAspectRatio="none")
    signs = [
        tag("i", class_="mark", style=f"left:{100 * window.share(each.time):.2f}%;color:{each.color}",
            title=f"{each.text}, {axes.local(each.time):%H:%M:%S}")
        for each in happened
    ]  # fmt: skip
    beside = [tag("span", text, style=f"bottom:{100 * share:.2f}%") for share, text in labels]
    below = [
        tag("span", text, style=f"left:{100 * window.share(time):.2f}%")
        for time, text in times
        if window.share(time) <= LAST_TIME
    ]
    # As wide as the widest text, and no less than the half of a time that is beyond the left end.
    room = max([LEAST_ROOM, *(len(text) for _, text in labels)])
    return tag(
        "div",
        tag("div", *beside, class_="y", style=f"width:{room + 1}ch"),
        tag("div", tag("div", picture, *signs, above, class_="area"), tag("div", *below, class_="x"), class_="inner"),
        class_="plot",
    )


def path(d: str, **attributes: object) -> Markup:
    return tag("path", d=d, **attributes)


def x(share: float) -> str:
    return f"{SIZE * share:.1f}"


def y(share: float) -> str:
    return f"{SIZE * (1 - share):.1f}"


def nothing(panel: Json) -> Markup:
    """In place of what has no data."""
    return tag("p", panel["fieldConfig"]["defaults"].get("noValue", "No data"), class_="nothing")
