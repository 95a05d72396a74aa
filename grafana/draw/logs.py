"""Log lines, the newest first, each with the colour of its level."""

from grafana.draw import axes
from grafana.draw.colors import NAMED
from grafana.draw.markup import Markup, join, tag
from grafana.draw.plot import nothing
from grafana.draw.source import LogLine
from grafana.draw.view import View
from grafana.queries import Json
from toolkit.process import Failure

LEVELS = {
    **dict.fromkeys(("critical", "fatal", "error", "err"), NAMED["red"]),
    **dict.fromkeys(("warning", "warn"), NAMED["orange"]),
    **dict.fromkeys(("info", "information"), NAMED["green"]),
    **dict.fromkeys(("debug", "trace"), NAMED["blue"]),
}
UNKNOWN = "#8e8e8e"


def draw(panel: Json, view: View) -> Markup:
    if view.logs is None:
        return tag("p", "No VictoriaLogs was named to ask for log lines.", class_="nothing")
    found = []
    try:
        for target in panel["targets"]:
            found += view.logs.lines(view.fill_in(target["expr"]), view.window, target["maxLines"])
    except Failure as failure:  # the other panels do without
        return tag("p", str(failure), class_="nothing")
    return tag("ol", *map(_line, found), class_="lines") if found else nothing(panel)


def _line(line: LogLine) -> Markup:
    time = axes.local(line.time)
    level = line.fields.get("log.level") or line.fields.get("level", "")
    color = LEVELS.get(level.lower(), UNKNOWN)
    shown = f"{time:%H:%M:%S}.{time.microsecond // 1000:03}"
    pod = line.fields.get("kubernetes.pod_name", "")
    return tag(
        "li",
        tag("time", shown, title=f"{time:%Y-%m-%d %H:%M:%S %Z}"),
        join(tag("span", line.text.strip(), title=pod or None)),
        style=f"border-color:{color}",
    )
