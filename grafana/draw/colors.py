"""Grafana's colours on its dark background."""

from collections.abc import Sequence

from grafana.queries import Json

NAMED = {
    "green": "#73bf69",
    "orange": "#ff9830",
    "red": "#f2495c",
    "blue": "#5794f2",
    "purple": "#b877d9",
    "text": "#ccccdc",
    "transparent": "",
}
# The classic palette, without its reds, which mean that something is wrong, and without what is too dark to be read.
CLASSIC = (
    *("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#5794f2", "#b877d9", "#37872d", "#fade2a", "#7b9ce0", "#c1773c"),
    *("#b7dbab", "#f4d598", "#70dbed", "#f9ba8f", "#e5a8e2", "#aea2e0", "#629e51", "#e5ac0e", "#64b0c8", "#a277c4"),
    *("#9ac48a", "#f2c96d", "#65c5db", "#f9934e", "#5195ce", "#d683ce", "#806eb7"),
)
# From few to many, as the scheme Purples is on a dark background.
PURPLES = ("#3f007d", "#54278f", "#6a51a3", "#807dba", "#9e9ac8", "#bcbddc", "#dadaeb", "#efedf5")


class Palette:
    """A colour for each name, the same in all panels."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.names.setdefault(name, CLASSIC[len(self.names) % len(CLASSIC)])


def reached(value: float, steps: Sequence[Json]) -> str:
    """The colour of the last threshold that a value reaches, nothing if that is none."""
    color = ""
    for step in steps:
        if step["value"] is None or value >= step["value"]:
            color = NAMED[step["color"]]
    return color


def purple(share: float) -> str:
    """Of a share of the most, from 0 to 1."""
    position = min(max(share, 0), 1) * (len(PURPLES) - 1)
    index = min(int(position), len(PURPLES) - 2)
    pairs = zip(_parts(PURPLES[index]), _parts(PURPLES[index + 1]), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * (position - index)):02x}" for low, high in pairs)


def _parts(color: str) -> list[int]:
    return [int(color[start : start + 2], 16) for start in (1, 3, 5)]
