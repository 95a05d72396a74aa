"""Lines, areas and bars over time, with a legend of the last values."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from grafana.draw import axes, colors, units
from grafana.draw.axes import Axis
from grafana.draw.markup import Markup, join, tag
from grafana.draw.plot import SIZE, Mark, frame, nothing, path, x, y
from grafana.draw.source import Window
from grafana.draw.view import View, named
from grafana.queries import Json

Points = Sequence[float | None]
# Of the room that a time has.
BAR_WIDTH = 0.7


@dataclass(frozen=True)
class Series:
    """`top` and `bottom` are where it is drawn: in a stack it lies on those before."""

    name: str
    color: str
    points: Points
    bottom: Points
    top: Points

    @property
    def last(self) -> float | None:
        """None of what has ended: its last value says nothing about now."""
        return self.points[-1]


def draw(panel: Json, view: View, happened: Sequence[Mark]) -> Markup:
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    series = _series(panel, view)
    if not series:
        return nothing(panel)
    tops = [point for each in series for point in each.top if point is not None]
    axis = axes.values(tops, defaults["unit"], defaults.get("min"), defaults.get("max"))
    shape = _bars if custom["drawStyle"] == "bars" else _area
    # The first of a stack is drawn last, over the lines of those that lie on it.
    drawn = [shape(each, view.window, axis, custom) for each in reversed(series)]
    limits = _limits(panel, axis) if custom["thresholdsStyle"]["mode"] == "dashed" else []
    labels = [(axis.share(tick), units.tick(tick, defaults["unit"])) for tick in axis.ticks]
    body = frame(join(*drawn, *limits), view.window, labels, panel["gridPos"]["w"], happened)
    return join(body, _legend(panel, series))


def _series(panel: Json, view: View) -> list[Series]:
    stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    found: list[Series] = []
    floor: list[float] = [0.0] * len(view.window.times)
    for target in panel["targets"]:
        for line in view.prometheus.range(view.fill_in(target["expr"]), view.window):
            name = named(target.get("legendFormat", ""), line.labels)
            bottom = list(floor)
            top: list[float | None] = list(line.points)
            if stacked:
                floor = [low + (point or 0) for low, point in zip(floor, line.points, strict=True)]
                top = [None if point is None else high for point, high in zip(line.points, floor, strict=True)]
            found.append(Series(name, _color(panel, name, view), line.points, bottom, top))
    return found


def _color(panel: Json, name: str, view: View) -> str:
    for override in panel["fieldConfig"]["overrides"]:
        if re.search(override["matcher"]["options"].strip("/"), name):
            for each in override["properties"]:
                if each["id"] == "color":
                    return colors.NAMED[each["value"]["fixedColor"]]
    return view.colors[name]


def _area(series: Series, window: Window, axis: Axis, custom: Json) -> Markup:
    """A line and what lies below it; broken where there is no value."""
    line, area = "", ""
    for run in _runs(series.top):
        above = [f"{x(window.share(window.times[at]))} {_height(series.top[at], axis)}" for at in run]
        below = [f"{x(window.share(window.times[at]))} {_height(series.bottom[at], axis)}" for at in reversed(run)]
        # A value alone is a dot: a line of no length has its round ends.
        line += f"M{'L'.join(above)}" + ("h0" if len(run) == 1 else "")
        area += f"M{'L'.join(above + below)}Z"
    return join(
        path(area, fill=series.color, fill_opacity=custom["fillOpacity"] / 100),
        path(line, class_="line", stroke=series.color, stroke_width=custom["lineWidth"] + 0.5),
    )


def _bars(series: Series, window: Window, axis: Axis, custom: Json) -> Markup:
    d = ""
    room = SIZE / (len(window.times) - 1)
    for at, point in enumerate(series.points):
        if point:
            left = SIZE * window.share(window.times[at]) - room * BAR_WIDTH / 2
            top, bottom = _height(series.top[at], axis), _height(series.bottom[at], axis)
            d += f"M{left:.1f} {bottom}V{top}h{room * BAR_WIDTH:.1f}V{bottom}Z"
    return path(d, fill=series.color, fill_opacity=custom["fillOpacity"] / 100)


def _height(value: float | None, axis: Axis) -> str:
    return y(min(max(axis.share(value or 0), 0), 1))


def _runs(points: Points) -> Iterator[list[int]]:
    """Where values follow each other without a gap."""
    for known, run in groupby(range(len(points)), key=lambda at: points[at] is not None):
        if known:
            yield list(run)


def _limits(panel: Json, axis: Axis) -> list[Markup]:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [
        path(f"M0 {y(axis.share(step['value']))}H{SIZE}", class_="limit", stroke=colors.NAMED[step["color"]])
        for step in steps
        if step["value"] is not None and colors.NAMED[step["color"]] and 0 <= axis.share(step["value"]) <= 1
    ]


def _legend(panel: Json, series: Sequence[Series]) -> Markup:
    defaults = panel["fieldConfig"]["defaults"]
    entries = []
    for each in sorted(series, key=lambda each: each.last is None):
        last = "" if each.last is None else units.show(each.last, defaults["unit"])
        color = "" if each.last is None else colors.reached(each.last, defaults["thresholds"]["steps"])
        entries.append(
            tag("li", tag("i", style=f"background:{each.color}"), tag("span", each.name),
                tag("b", last, style=f"color:{color}" if color else None), title=f"{each.name}: {last or 'ended'}",
                class_=None if last else "ended")
        )  # fmt: skip
    return tag("ul", *entries, class_="legend")
