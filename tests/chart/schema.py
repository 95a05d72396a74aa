"""The chart's schema, for tests of values."""

import json
from typing import Any

import yaml

from .helm import CHART

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema itself, where it only names a definition."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = SCHEMA["definitions"][name] if name else schema
    return found


def own(schema: dict[str, Any]) -> dict[str, Any]:
    """The properties of an object that are not another chart's, which are refused."""
    foreign = {"$ref": "#/definitions/ofAnotherChart"}
    return {key: each for key, each in schema.get("properties", {}).items() if each != foreign}


def load(file: str) -> dict[str, Any]:
    """Values of the chart."""
    loaded: dict[str, Any] = yaml.safe_load((CHART / file).read_text(encoding="utf-8"))
    return loaded
