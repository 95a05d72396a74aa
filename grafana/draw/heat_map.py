"""A histogram over time: the lighter, the more; and dots for single requests that have a trace."""

import math
from collections.abc import Sequence
from itertools import pairwise

from grafana.draw import axes, colors, units
from grafana.draw.markup import Markup, join, tag
from grafana.draw.plot import SIZE, Mark, frame, nothing, y
from grafana.draw.source import Exemplar
from grafana.draw.view import View
from grafana.queries import Json

MOST_LABELS = 8


def draw(panel: Json, view: View, happened: Sequence[Mark]) -> Markup:
    (target,) = panel["targets"]
    expression = view.fill_in(target["expr"])
    lines = view.prometheus.range(expression, view.window)
    counted = sorted((float(line.labels["le"]), line.points) for line in lines if "le" in line.labels)
    if not counted:
        return nothing(panel)
    options = panel["options"]
    bounds = [bound for bound, _ in counted]
    rows = _rows([points for _, points in counted])
    cells = _cells(rows, bounds, view, options)
    dots = _dots(view.prometheus.exemplars(expression, view.window), bounds, view) if target.get("exemplar") else []
    skip = math.ceil(len(bounds) / MOST_LABELS)
    unit = options["yAxis"]["unit"]
    labels = [
        ((at + 1) / len(bounds), "+Inf" if math.isinf(bound) else units.tick(bound, unit))
        for at, bound in enumerate(bounds)
        if (len(bounds) - 1 - at) % skip == 0
    ]
    return frame(join(*cells), view.window, labels, panel["gridPos"]["w"], happened, join(*dots))


def _rows(counted: Sequence[Sequence[float | None]]) -> list[list[float]]:
    """How many in each bucket alone: Prometheus counts all up to its bound."""
    known = [[point or 0.0 for point in points] for points in counted]
    first = [known[0]] if known else []
    return first + [
        [max(0.0, high - low) for low, high in zip(lower, upper, strict=True)] for lower, upper in pairwise(known)
    ]


def _cells(rows: Sequence[Sequence[float]], bounds: Sequence[float], view: View, options: Json) -> list[Markup]:
    most = max((value for row in rows for value in row), default=0)
    times = view.window.times
    width, height = SIZE / (len(times) - 1), SIZE / len(rows)
    found = []
    for at, row in enumerate(rows):
        for time, value in zip(times, row, strict=True):
            if value > options["filterValues"]["le"]:
                said = f"{axes.local(time):%H:%M:%S}, up to {bounds[at]:g} s: " + units.show(
                    value, options["cellValues"]["unit"]
                )
                left = SIZE * view.window.share(time) - width / 2
                found.append(
                    tag("rect", tag("title", said), x=f"{left:.1f}", y=y((at + 1) / len(rows)), width=f"{width:.1f}",
                        height=f"{height:.1f}", fill=colors.purple(value / most))
                )  # fmt: skip
    return found


def _dots(exemplars: Sequence[Exemplar], bounds: Sequence[float], view: View) -> list[Markup]:
    """The slowest of each bucket and time: the others would lie under it."""
    slowest: dict[tuple[int, int], Exemplar] = {}
    for each in exemplars:
        place = (_bucket(each.value, bounds), round(view.window.share(each.time) * len(view.window.times)))
        if place not in slowest or slowest[place].value < each.value:
            slowest[place] = each
    return [_dot(each, bounds, view) for each in slowest.values() if 0 <= view.window.share(each.time) <= 1]


def _dot(exemplar: Exemplar, bounds: Sequence[float], view: View) -> Markup:
    left, bottom = view.window.share(exemplar.time), _up(exemplar.value, bounds)
    said = f"{axes.local(exemplar.time):%H:%M:%S}, {units.show(exemplar.value, 's')}, trace {exemplar.trace}"
    return tag("i", class_="dot", title=said, style=f"left:{100 * left:.2f}%;bottom:{100 * bottom:.2f}%")


def _bucket(value: float, bounds: Sequence[float]) -> int:
    return next((at for at, bound in enumerate(bounds) if value <= bound), len(bounds) - 1)


def _up(value: float, bounds: Sequence[float]) -> float:
    """How far up a value lies: within its bucket in proportion, in the last, which has no end, in the middle."""
    at = _bucket(value, bounds)
    low = bounds[at - 1] if at else 0.0
    within = 0.5 if math.isinf(bounds[at]) else (value - low) / (bounds[at] - low)
    return (at + within) / len(bounds)
