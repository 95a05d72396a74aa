"""One large number, in the colour of the threshold that it has reached."""

from grafana.draw import colors, units
from grafana.draw.markup import Markup, tag
from grafana.draw.plot import nothing
from grafana.draw.view import View
from grafana.queries import Json


def draw(panel: Json, view: View) -> Markup:
    """With class filled its colour is that of the whole panel."""
    (target,) = panel["targets"]
    defaults = panel["fieldConfig"]["defaults"]
    found = view.prometheus.instant(view.fill_in(target["expr"]), view.window)
    if not found:
        return nothing(panel)
    value = found[-1].value
    words = {key: each["text"] for mapping in defaults.get("mappings", []) for key, each in mapping["options"].items()}
    text = words.get(f"{value:g}") or units.show(value, defaults["unit"], defaults.get("decimals"))
    color = colors.reached(value, defaults["thresholds"]["steps"])
    filled = panel["options"]["colorMode"].startswith("background")
    style = f"--letters:{len(text)};--color:{color}"
    return tag("p", text, class_="value filled" if filled else "value", style=style)
