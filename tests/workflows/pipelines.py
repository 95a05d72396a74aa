"""The pipelines as data: workflows, the actions of their own, and what each step runs."""

import re
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Any

import yaml

from toolkit.paths import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
# Values that a pipeline is given come by the environment: make would expand what is in an argument of its own.
MAKE = re.compile(
    r'([A-Z_]+="([\w.:/]|\$\w+|\$\{\w+(#v|,,)\})+" )*'
    r"make (--silent )?(?P<target>[a-z0-9-]+)( [A-Z_]+=[\w./:,-]+)*"
    r'( >>? "\$(GITHUB_OUTPUT|GITHUB_STEP_SUMMARY|RUNNER_TEMP/notes\.md)")?'
)


@dataclass(frozen=True)
class Step:
    """A step, and where it is."""

    where: str
    content: dict[str, Any]

    @property
    def lines(self) -> list[str]:
        """What it runs, a command a line."""
        return [line.strip() for line in self.content.get("run", "").splitlines() if line.strip()]


@once
def load(file: Path) -> dict[str, Any]:
    # As YAML 1.2, and GitHub, read it: `on` is a word.
    content: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {"on" if key is True else str(key): value for key, value in content.items()}


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(file)["jobs"]
    return found


def steps() -> list[Step]:
    """Every step of every workflow and action."""
    found = [
        Step(f"{file.name}, {name}", step)
        for file in WORKFLOWS
        for name, job in jobs(file).items()
        for step in job.get("steps", ())
    ]
    return found + [
        Step(f"{file.parent.name}/{file.name}", step) for file in ACTIONS for step in load(file)["runs"]["steps"]
    ]
