"""Completes ci/everything-values.yaml, the scenario that sets every value to something else than its default.

A value that it lacks is put behind its neighbour in values.yaml: the first of the schema's `examples` or `enum` for it,
else the other boolean, another number, or some text. By hand it may then be given one that says more.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FILE = "ci/everything-values.yaml"
# Each would take the place of another that is set.
ALTERNATIVES = {
    "ingress.selfSigned",
    "ingress.tls",
    "podMonitor.enabled",
    "traefik.retry.enabled",
    "keda.enabled",
    "externalSecret.enabled",
    "podDisruptionBudget.minAvailable",
    "migrations.serviceAccount.annotations",
    "persistence.existingClaim",
    *(
        f"probes.{probe}.{way}"
        for probe in ("startup", "readiness", "liveness")
        for way in ("exec", "grpc", "tcpSocket")
    ),
}

Keys = tuple[str, ...]
Shape = dict[str, Any]


def with_all(text: str, chart: Path) -> str:
    """The scenario with a line for each value that it did not change. ValueError names one that needs an example."""
    defaults = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    scenario = yaml.safe_load(text)
    for keys, shape in leaves(defaults, schema, schema):
        default = _at(defaults, keys)
        if _at(scenario, keys, default) == default and not _stays(keys, default):
            text = _insert(text, keys, _another(keys, shape, default), defaults)
    return text


def leaves(values: dict[str, Any], shape: Shape, schema: Shape, above: Keys = ()) -> Iterator[tuple[Keys, Shape]]:
    """The values down to where the schema takes any key, each with its part of the schema."""
    for key, each in values.items():
        below = _resolved(shape.get("properties", {}).get(key, {}), schema)
        if isinstance(each, dict) and "properties" in below:
            yield from leaves(each, below, schema, (*above, key))
        else:
            yield (*above, key), below


def _resolved(shape: Shape, schema: Shape) -> Shape:
    """With what is said beside a reference, such as examples."""
    name = shape.get("$ref", "").rpartition("/")[2]
    return {**(schema["definitions"][name] if name else {}), **shape}


def _at(values: Any, keys: Keys, absent: Any = None) -> Any:
    return functools.reduce(
        lambda found, key: found.get(key, absent) if isinstance(found, dict) else absent, keys, values
    )


def _stays(keys: Keys, default: Any) -> bool:
    """What is on stays on: off, it would hide what is below it."""
    return ".".join(keys) in ALTERNATIVES or (default is True and keys[-1] in {"enabled", "create"})


def _another(keys: Keys, shape: Shape, default: Any) -> Any:
    for candidate in [*shape.get("examples", []), *shape.get("enum", []), *_others(shape, default)]:
        if candidate != default:
            return candidate
    raise ValueError(f'values.schema.json has no other value of {".".join(keys)} for {FILE}: give it "examples": [...]')


def _others(shape: Shape, default: Any) -> Iterator[Any]:
    kinds = shape.get("type", [])
    if "boolean" in kinds:
        yield not default
    if "integer" in kinds or "number" in kinds:
        most = min(shape.get("maximum", float("inf")), shape.get("exclusiveMaximum", float("inf")))
        if not isinstance(default, (int, float)):
            yield shape.get("minimum", 1)
        elif default + 1 < most:
            yield default + 1
        else:
            yield default // 2 if isinstance(default, int) else default / 2
    if "string" in kinds and "pattern" not in shape:
        yield "example"


def _insert(text: str, keys: Keys, value: Any, defaults: dict[str, Any]) -> str:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    depth = 0
    while isinstance(below := _children(node).get(keys[depth]), yaml.MappingNode) and depth < len(keys) - 1:
        node, depth = below, depth + 1
    if below is not None:
        raise ValueError(f"{FILE} sets {'.'.join(keys)} to its default: write another value")
    key = keys[depth]
    for each in reversed(keys[depth + 1 :]):
        value = {each: value}
    added = yaml.safe_dump({key: value}, default_flow_style=True, sort_keys=False, width=1000).strip()[1:-1]
    if node.flow_style:
        end = node.end_mark.index - 1
        return f"{text[:end]}{', ' if node.value else ''}{added}{text[end:]}"
    order = list(_at(defaults, keys[:depth]))
    children = _children(node)
    before = [children[each] for each in order[: order.index(key)] if each in children]
    first = node.value[0][0].start_mark
    lines = text.splitlines(keepends=True)
    lines.insert(_last_line(before[-1]) + 1 if before else first.line, " " * first.column + added + "\n")
    return "".join(lines)


def _children(node: Any) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in node.value}


def _last_line(node: Any) -> int:
    """Where a node ends: a block ends only before what comes after it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.line
    return end if node.end_mark.column else end - 1
