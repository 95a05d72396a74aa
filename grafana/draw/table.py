"""Rows of now, put together as the panel's transformations say."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from grafana.draw import colors, units
from grafana.draw.markup import Markup, tag
from grafana.draw.plot import nothing
from grafana.draw.view import View
from grafana.queries import Json

Cell = str | float | None
Row = dict[str, Cell]
MOST_LETTERS = 40


def draw(panel: Json, view: View) -> Markup:
    """Raises ValueError for a transformation that is not known."""
    frames = _frames(panel, view)
    for step in panel.get("transformations", []):
        if step["id"] not in TRANSFORMATIONS:
            raise ValueError(f"{panel['title']}: transformation {step['id']} is not known: add it to {__name__}")
        frames = [*TRANSFORMATIONS[step["id"]](frames, step["options"])]
    rows = [row for frame in frames for row in frame]
    if not rows:
        return nothing(panel)
    for order in panel["options"].get("sortBy", []):
        rows.sort(key=lambda row: _sortable(row.get(order["displayName"])), reverse=order.get("desc", False))
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column(panel, name) for name in names}
    numeric = {name for name in names if any(isinstance(row.get(name), float) for row in rows)}
    plain = {name for name in numeric if "mappings" not in columns[name]}
    head = [tag("th", name, class_="number" if name in plain else None) for name in names]
    body = [tag("tr", *(_cell(row.get(name), columns[name], view, name in plain) for name in names)) for row in rows]
    widths = [_width(name, rows, columns[name], view) for name in names]
    shares = [tag("col", style=f"width:{100 * width / sum(widths):.1f}%") for width in widths]
    return tag(
        "div",
        tag("table", tag("colgroup", *shares), tag("thead", tag("tr", *head)), tag("tbody", *body)),
        class_="rows",
    )


def _frames(panel: Json, view: View) -> list[list[Row]]:
    """For each query its rows: all labels, and the value."""
    frames: list[list[Row]] = []
    for target in panel["targets"]:
        value = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
        found = view.prometheus.instant(view.fill_in(target["expr"]), view.window)
        frames.append([{**sample.labels, value: sample.value} for sample in found])
    return frames


def _join(frames: Sequence[list[Row]], options: Json) -> list[list[Row]]:
    """Those with the same value of a field become one."""
    joined: dict[Cell, Row] = {}
    for row in (row for frame in frames for row in frame):
        joined.setdefault(row.get(options["byField"]), {}).update(row)
    return [list(joined.values())]


def _only(frames: Sequence[list[Row]], options: Json) -> list[list[Row]]:
    names = options["include"]["names"]
    return [[{name: value for name, value in row.items() if name in names} for row in frame] for frame in frames]


def _organize(frames: Sequence[list[Row]], options: Json) -> list[list[Row]]:
    names, order, left_out = (options[name] for name in ("renameByName", "indexByName", "excludeByName"))

    def organized(row: Row, kept: Sequence[str]) -> Row:
        return {names.get(name, name): row.get(name) for name in kept}

    result = []
    for frame in frames:
        kept = {name for row in frame for name in row if not left_out.get(name)}
        in_order = sorted(kept, key=lambda name: (order.get(name, len(order)), name))
        result.append([organized(row, in_order) for row in frame])
    return result


Transformation = Callable[[Sequence[list[Row]], Json], list[list[Row]]]
TRANSFORMATIONS: dict[str, Transformation] = {
    "joinByField": _join,
    "filterFieldsByName": _only,
    "organize": _organize,
}


def _width(name: str, rows: Sequence[Row], column: dict[str, Any], view: View) -> int:
    """In letters, of the longest that is not too long, and a little room."""
    return min(MOST_LETTERS, max(len(name), *(len(_text(row.get(name), column, view)[0]) for row in rows))) + 3


def _sortable(cell: Cell) -> tuple[bool, bool, str | float]:
    """Numbers before texts, and before both what has no value."""
    return (cell is not None, isinstance(cell, str), cell if cell is not None else 0)


def _column(panel: Json, name: str) -> dict[str, Any]:
    """How a column looks: the panel's defaults, and what overrides them."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def _cell(cell: Cell, column: dict[str, Any], view: View, number: bool) -> Markup:
    text, color = _text(cell, column, view)
    style = None
    if (
        isinstance(cell, float)
        and "thresholds" in column
        and (reached := colors.reached(cell, column["thresholds"]["steps"]))
    ):
        style = f"--color:{reached}"
    elif color:
        style = f"color:{color}"
    shown: str = text
    for link in column.get("links", []):
        address = link["url"].replace("${runbooks}", view.runbooks).replace("${__value.raw}", quote(str(cell), safe=""))
        shown = tag("a", text, href=address, target="_blank", style=style)
    return tag("td", shown, style=style, class_="number" if number else None, title=text)


def _text(cell: Cell, column: dict[str, Any], view: View) -> tuple[str, str]:
    """What is written, and its colour if it has one."""
    if cell is None:
        return column.get("noValue", ""), ""
    raw = cell if isinstance(cell, str) else f"{cell:g}"
    for mapping in column.get("mappings", []):
        if raw in mapping["options"]:
            chosen = mapping["options"][raw]
            return chosen["text"], colors.NAMED[chosen["color"]]
    if isinstance(cell, str):
        return cell, ""
    if column["unit"] == "dateTimeFromNow":
        return units.ago(view.window.end - cell / 1000), ""
    return units.show(cell, column["unit"]), ""
