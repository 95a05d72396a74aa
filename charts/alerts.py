"""The alerts of a chart, as rules/ has them, in what must say the same: values.yaml, its schema, the runbooks' index.

In rules/ each alert has its expression, its texts, and in `values` the defaults of what a release may change. A limit's
name and default say what the schema lets it be: a `ratio`, a time (`seconds`, `days`), a count, or else a number.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from charts import comments

FILES = ("burn.yaml", "alerts.yaml")
BEGIN, END = "<!-- alerts -->", "<!-- /alerts -->"
TIMES = {"seconds", "minutes", "hours", "days"}
KINDS = {"enabled": "boolean", "severity": "severity", "for": "wait", "ratio": "ratio"}
# How the schema writes an alert with nothing to say but these.
SHORT = {("enabled",): "switch", ("enabled", "severity", "for"): "alert"}
WIDTH = 120


class Alert(NamedTuple):
    name: str
    values: dict[str, Any]  # as values.yaml has them
    comment: list[str]  # on these, for its readers


def alerts(chart: Path) -> list[Alert]:
    """Those of the chart in order. ValueError names one whose values are not whole."""
    files = (chart / "rules" / name for name in FILES)
    return [alert for file in files if file.exists() for alert in _alerts_of(file)]


def _alerts_of(file: Path) -> Iterator[Alert]:
    source = file.read_text(encoding="utf-8")
    rules = yaml.compose(source, Loader=yaml.SafeLoader)
    for rule in rules.value if isinstance(rules, yaml.SequenceNode) else []:
        parts = {key.value: (key, value) for key, value in rule.value}
        name = parts["alert"][1].value
        if "values" not in parts:  # of an SLO: the windows have its severity and time
            yield Alert(name, {"enabled": True}, [])
            continue
        key, node = parts["values"]
        own = yaml.SafeLoader("").construct_document(node)
        if missing := {"severity", "for"} - own.keys():
            raise ValueError(f"rules/{file.name}: the values of {name} lack {' and '.join(sorted(missing))}")
        yield Alert(name, {"enabled": True, **own}, comments.above(source.splitlines(), key.start_mark.line))


def with_values(text: str, chart: Path) -> str:
    """values.yaml with today's alerts."""
    written = ["# Written by `make docs`, from rules/."]
    for alert in alerts(chart):
        own = yaml.safe_dump(alert.values, default_flow_style=True, sort_keys=False, width=WIDTH).strip()
        written += [*alert.comment, f"{alert.name}: {own}"]
    return _with_block(text, "  alerts:\n", written) if len(written) > 1 else text


def with_schema(text: str, chart: Path) -> str:
    """values.schema.json with today's alerts."""
    found = alerts(chart)
    if not found:
        return text
    names = json.dumps([alert.name for alert in found])[1:-1]
    properties = ",\n".join(f'"{alert.name}": {_schema(alert)}' for alert in found)
    return _with_block(
        text,
        '        "alerts": {\n',
        [
            '"$comment": "Written by `make docs`, from rules/.",',
            '"type": "object",',
            '"additionalProperties": false,',
            '"required": [',
            *textwrap.wrap(names, WIDTH - 12, initial_indent="  ", subsequent_indent="  "),
            "],",
            '"properties": {',
            *textwrap.indent(properties, "  ").splitlines(),
            "}",
        ],
    )


def _schema(alert: Alert) -> str:
    if short := SHORT.get(tuple(alert.values)):
        return f'{{ "$ref": "#/definitions/{short}" }}'
    kinds = ",\n".join(f'    "{name}": {_kind(name, default)}' for name, default in alert.values.items())
    return (
        '{\n  "type": "object",\n  "additionalProperties": false,\n'
        f'  "required": {json.dumps(list(alert.values))},\n  "properties": {{\n{kinds}\n  }}\n}}'
    )


def _kind(name: str, default: object) -> str:
    counted = isinstance(default, int) and name not in TIMES
    kind = KINDS.get(name, "positive" if counted else "above")
    return '{ "type": "boolean" }' if kind == "boolean" else f'{{ "$ref": "#/definitions/{kind}" }}'


def _with_block(text: str, head: str, block: list[str]) -> str:
    """The text with other lines below its line `head`, in place of those that are indented deeper."""
    before, found, rest = text.partition(head)
    if not found:
        raise ValueError(f"there is no line {head.strip()!r} to write the alerts below")
    indent = " " * (len(head) - len(head.lstrip()) + 2)
    old = re.match(rf"({indent}.*\n)*", rest)
    after = rest[old.end() if old else 0 :]
    return before + head + textwrap.indent("\n".join(block), indent) + "\n" + after


def with_index(text: str, chart: Path) -> str:
    """The runbooks' index with a line for each page beside it: the first sentence of its head."""
    folder = chart.parents[1] / "docs" / "runbooks"
    pages = sorted(page.stem for page in folder.glob("*.md") if page.stem != "README")
    found = {alert.name: alert.values.get("severity", "critical") for alert in alerts(chart)}
    if missing := [name for name in found if name not in pages]:
        raise ValueError(f"write a runbook, docs/runbooks/{missing[0]}.md, with the sections that the others have")
    waking = [name for name, severity in found.items() if severity == "critical"]
    tables = {
        "Users suffer (`critical`: somebody is woken)": waking,
        "Causes, and what will be one": [name for name in found if name not in waking],
        "What watches": [name for name in pages if name not in found],
    }
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/runbooks/README.md has no place for its tables: write a line {BEGIN} and a line {END}")
    sections = "\n\n".join(
        "\n".join(
            [f"## {title}", "", "| Alert | Meaning |", "| --- | --- |"]
            + [f"| [{name}]({name}.md) | {_meaning(folder / f'{name}.md')} |" for name in names]
        )
        for title, names in tables.items()
    )
    return f"{before}{BEGIN}\n{sections}\n{END}{after}"


def _meaning(page: Path) -> str:
    """The first sentence below the title, without its full stop."""
    _, _, text = page.read_text(encoding="utf-8").partition("\n\n")
    head = text.partition("\n\n")[0].replace("\n", " ")
    return re.split(r"\.(?: |$)", head, maxsplit=1)[0]
