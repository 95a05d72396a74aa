"""The values table of a chart's README, from the `# --` comments of its values.yaml.

Every value has such a comment above it, or is part of one that has. The table stands in README.md between
`<!-- values -->` and `<!-- /values -->`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from charts import comments

BEGIN, END = "<!-- values -->", "<!-- /values -->"
LONGEST_DEFAULT = 60


class Value(NamedTuple):
    path: str
    default: str
    meaning: str


def values(source: str) -> list[Value]:
    """The documented values in order; ValueError names each one without a comment."""
    root = yaml.compose(source, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("values.yaml holds no values: write `key: value` lines")
    found = list(_walk(root, "", source.splitlines()))
    if missing := [value.path for value in found if not value.meaning]:
        raise ValueError(f"write a `# --` comment above {', '.join(missing)}")
    return found


def _walk(mapping: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, node in mapping.value:
        path = prefix + key.value
        meaning = _comment_above(lines, key.start_mark.line)
        if not meaning and isinstance(node, yaml.MappingNode) and node.value:
            yield from _walk(node, f"{path}.", lines)
        else:
            yield Value(path, _default(node), meaning)


def _comment_above(lines: list[str], line: int) -> str:
    """The text of the comment block that ends just above a line, empty when it does not begin with `# --`."""
    text = " ".join(comment.lstrip("#").strip() for comment in comments.above(lines, line))
    return text.removeprefix("-- ") if text.startswith("-- ") else ""


def _default(node: yaml.Node) -> str:
    default = json.dumps(yaml.SafeLoader("").construct_document(node))
    return f"`{default}`" if len(default) <= LONGEST_DEFAULT else "[values.yaml](values.yaml)"


def table(found: list[Value]) -> str:
    rows = [f"| `{value.path}` | {value.default} | {value.meaning} |" for value in found]
    return "\n".join(["| Value | Default | Meaning |", "| --- | --- | --- |", *rows])


def with_table(readme: str, chart: Path) -> str:
    """The README with today's table; ValueError when it has no place for one."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no place for the table: write a line {BEGIN} and a line {END}")
    new = table(values((chart / "values.yaml").read_text(encoding="utf-8")))
    return f"{before}{BEGIN}\n{new}\n{END}{after}"
