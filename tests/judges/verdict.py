"""What a judge says of a scenario."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """Something that a judge would have otherwise. `on` is Kind/name of an object, or the path of a file."""

    judge: str
    scenario: str
    check: str
    on: str
    message: str

    @property
    def where(self) -> str:
        """scenario/Kind/name; a file is its own scenario."""
        return self.on if self.on == self.scenario else f"{self.scenario}/{self.on}"

    def __str__(self) -> str:
        return f"{self.judge} {self.check} on {self.where}: {' '.join(self.message.split())}"


@dataclass
class Verdict:
    """How many checks passed, and what was found by the others.

    `note` says what was looked at, where that may differ; `whole` is whether that was all there is.
    """

    scenario: str
    passed: int = 0
    findings: list[Finding] = field(default_factory=list)
    note: str = ""
    whole: bool = True


Verdicts = dict[str, Verdict]  # by scenario


def open_verdicts(scenarios: Iterable[str]) -> Verdicts:
    """A verdict for each scenario, for a judge to fill in."""
    return {each: Verdict(each) for each in scenarios}


def scenario_of(path: str) -> str:
    """The scenario whose manifests a file holds: named after it."""
    return Path(path).stem
