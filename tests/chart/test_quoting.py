"""Strings stay strings, whatever they look like: YAML 1.1 reads y, on, no and null as something else."""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml

from .helm import CHART, IMAGE, Objects, helm, render

EVERYTHING = CHART / "ci" / "everything-values.yaml"
Path = tuple[str | int, ...]


def others(value: Any, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """What is no string, with where it is. Objects are known by their kind: names may change."""
    if isinstance(value, dict):
        for key, each in value.items():
            assert isinstance(key, str), (path, key)
            yield from others(each, (*path, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from others(each, (*path, index))
    elif not isinstance(value, str):
        yield path, value


def others_of(objects: Objects) -> list[tuple[str, Path, object]]:
    return [(each["kind"], *found) for each in objects for found in others(each)]


@pytest.mark.parametrize("name", ["y", "on", "no", "null", "true", "e1"])
def test_names_that_yaml_takes_for_something_else(name: str) -> None:
    values = {"fullnameOverride": name, "nameOverride": name, "serviceAccount": {"create": True, "name": name}}
    plain = {"fullnameOverride": "links", "nameOverride": "links", "serviceAccount": {"create": True, "name": "links"}}
    assert others_of(render(values, EVERYTHING, release=name)) == others_of(render(plain, EVERYTHING, release="links"))


def strings(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where the strings are."""
    if isinstance(value, str):
        yield path
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from strings(each, (*path, key))


def replaced(values: Any, paths: Sequence[Path], by: str) -> Any:
    changed = copy.deepcopy(values)
    for path in paths:
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = by
    return changed


def pointer(path: Path) -> str:
    """As the schema's messages name a value."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def sentence(path: Path) -> str:
    """As the chart's own do."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def taken(values: Any, paths: Sequence[Path], by: str) -> Iterator[tuple[Sequence[Path], Objects]]:
    """The values that can be changed, as many of them at once as go together, with what becomes of them.

    One that is left out was refused when it alone was changed, or by the schema, for which each value stands alone.
    """
    if not paths:
        return
    done = helm("template", "demo", CHART, "--values=-", stdin=json.dumps(replaced(values, paths, by)))
    if not done.returncode:
        yield paths, Objects(each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each)
    elif len(paths) > 1:
        allowed = [path for path in paths if f"at '{pointer(path)}':" not in done.stderr]
        if len(allowed) < len(paths):
            yield from taken(values, allowed, by)
            return
        suspects = [path for path in paths if sentence(path) in done.stderr]
        rest = [path for path in paths if path not in suspects]
        if not suspects or not rest:
            half = len(paths) // 2
            parts = [paths[:half], paths[half:]]
        else:
            parts = [rest, *([path] for path in suspects)]
        for part in parts:
            yield from taken(values, part, by)


def test_every_value_that_is_a_string_stays_one() -> None:
    """Those that may be anything; what a schema or a check refuses cannot be taken for something else."""
    values = yaml.safe_load(EVERYTHING.read_text()) | {"image": IMAGE}
    before = others_of(render(values))
    found = list(taken(values, list(strings(values)), "on"))
    assert sum(len(paths) for paths, _ in found) > 60
    for paths, objects in found:
        assert [each for each in others_of(objects) if each not in before] == [], paths
