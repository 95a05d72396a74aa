"""Strings stay strings, whatever they look like: YAML 1.1 reads y, on, no and null as something else."""

import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def replaced(values: Any, path: Path, by: str) -> Any:
    changed = copy.deepcopy(values)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = by
    return changed


def test_every_value_that_is_a_string_stays_one() -> None:
    """Those that may be anything; what a schema or a check refuses cannot be taken for something else."""
    values = yaml.safe_load(EVERYTHING.read_text()) | {"image": IMAGE}
    before = others_of(render(values))

    def changed(path: Path) -> list[tuple[str, Path, object]] | None:
        given = json.dumps(replaced(values, path, "on"))
        done = helm("template", "demo", CHART, "--values=-", stdin=given)
        if done.returncode:
            return None
        return others_of(Objects(each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each))

    paths = list(strings(values))
    with ThreadPoolExecutor(4) as pool:
        results = dict(zip(paths, pool.map(changed, paths), strict=True))
    taken = {path: found for path, found in results.items() if found is not None}
    assert len(taken) > 60
    wrong = {path: [each for each in found if each not in before] for path, found in taken.items()}
    assert {path: found for path, found in wrong.items() if found} == {}
