"""docs/delivery.md names the settings of an environment, all of them and no other."""

import re
from typing import get_args

from pydantic import BaseModel

from delivery.deploy.environment import Canary, Environment
from toolkit.paths import ROOT

OWN = {"prometheus", "signature"}  # a line for the whole section


def settings(model: type[BaseModel], before: str = "") -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        found |= settings(section, f"{name}.") if section and name not in OWN else {before + name}
    return found


def documented() -> dict[str, str]:
    """Setting and default, as the table has them."""
    page = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    table = page.partition("\n## Environments\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| ([^|]*) ?\| ", table, flags=re.M)
    return {name: default.strip(" `") for names, default in rows for name in re.findall(r"`([a-z_.]+)`", names)}


def test_every_setting_is_documented_and_no_other() -> None:
    assert set(documented()) == settings(Environment) - {"name"}


def test_the_defaults_are_the_documented_ones() -> None:
    """Those that are a number, a switch or a path; words say where the others come from."""
    environment = Environment.model_validate({"name": "n", "namespace": "n", "release": "r", "values": ["own.yaml"]})
    sections = {"bake.": environment.bake, "smoke.": environment.smoke, "canary.": Canary()}
    there = environment.model_dump()
    for before, section in sections.items():
        there |= flat(section, before)
    told = {name: default for name, default in documented().items() if re.fullmatch(r"\d+|true|false|/\S*", default)}
    assert len(told) > 8
    assert told == {name: written(there[name]) for name in told}


def flat(section: BaseModel, before: str) -> dict[str, object]:
    return {before + name: value for name, value in section.model_dump().items()}


def written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
