"""One dashboard as a page: links, time, and the panels in Grafana's grid."""

from collections.abc import Mapping
from pathlib import Path

from grafana.draw import axes, heat_map, logs, plot, stat, table, time_series
from grafana.draw.markup import Markup, tag
from grafana.draw.plot import Mark
from grafana.draw.view import View
from grafana.queries import Json

STYLE = Path(__file__).with_name("style.css")
# Nothing but what the page itself has: no script, and nothing from elsewhere.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def draw(dashboard: Json, view: View, pages: Mapping[str, str]) -> str:
    """The text of a file. `pages` are all dashboards' files and titles. What is collapsed is left out."""
    happened = plot.marks(dashboard, view)
    panels = [_panel(panel, view, happened) for panel in dashboard["panels"] if not panel.get("collapsed")]
    title = f"{dashboard['title']} - {view.service['job']}"
    head = tag(
        "head",
        Markup('<meta charset="utf-8">'),
        tag("title", title),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width">'),
        tag("style", Markup(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag("body", _header(dashboard, view, pages), tag("main", *panels))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(dashboard: Json, view: View, pages: Mapping[str, str]) -> Markup:
    links = [
        tag("a", title, href=file, aria_current="page" if title == dashboard["title"] else None)
        for file, title in pages.items()
    ]
    for link in dashboard["links"]:
        # The others lead into Grafana.
        if link["url"].startswith("${runbooks}"):
            address = link["url"].replace("${runbooks}", view.runbooks)
            links.append(tag("a", f"{link['title']} ↗", href=address, title=link["tooltip"], target="_blank"))
    start, end = axes.local(view.window.start), axes.local(view.window.end)
    first = f"{start:%d %b %Y %H:%M:%S}"
    last = f"{end:%H:%M:%S %Z}" if start.date() == end.date() else f"{end:%d %b %Y %H:%M:%S %Z}"
    chips = [_chip("namespace", view.service["namespace"]), _chip("service", view.service["job"])]
    return tag(
        "header",
        tag("div", tag("h1", dashboard["title"]), tag("p", dashboard["description"]), class_="title"),
        tag("nav", *links),
        tag("div", *chips, tag("span", f"{first} to {last}", class_="chip time"), class_="chips"),
    )


def _chip(name: str, value: str) -> Markup:
    return tag("span", tag("small", name), value, class_="chip")


def _panel(panel: Json, view: View, happened: list[Mark]) -> Markup:
    place = panel["gridPos"]
    area = f"grid-area:{place['y'] + 1}/{place['x'] + 1}/span {place['h']}/span {place['w']}"
    if panel["type"] == "row":
        return tag("h2", panel["title"], class_="row", style=area)
    about = panel["description"].replace("**", "")
    return tag(
        "section",
        tag("h3", panel["title"], title=about),
        _body(panel, view, happened),
        class_=f"panel {panel['type']}",
        style=area,
    )


def _body(panel: Json, view: View, happened: list[Mark]) -> Markup:
    match panel["type"]:
        case "timeseries":
            return time_series.draw(panel, view, happened)
        case "heatmap":
            return heat_map.draw(panel, view, happened)
        case "stat":
            return stat.draw(panel, view)
        case "table":
            return table.draw(panel, view)
        case "logs":
            return logs.draw(panel, view)
        case kind:
            raise ValueError(f"{panel['title']}: panels of type {kind} are not known: add them to {__name__}")
