"""Reads docs/runbooks: the sections of a page, its variables, and its first three commands with what they print.

The form is told in docs/runbooks/README.md. Run `execute` with the variables of a cluster to try a command.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
SECTIONS = ["What users see", "First three commands", "Likely causes", "Mitigation", "How to know it is over"]
COMMANDS = SECTIONS[1]


@dataclass(frozen=True)
class Command:
    line: str
    prints: tuple[str, ...]  # lines in order, others may come between; … is any text

    def unseen(self, output: str) -> str:
        """The first of the lines that the output does not have; empty if it has them all."""
        found = iter(_spaced(line) for line in output.splitlines())
        for wanted in self.prints:
            pattern = ".*".join(re.escape(_spaced(part)) for part in wanted.split("…"))
            if not any(re.fullmatch(_loosely(pattern), line) for line in found):
                return wanted
        return ""

    def execute(self, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run it by bash with NAMESPACE, RELEASE and PROMETHEUS."""
        environment = {**os.environ, **variables}
        argv = ["bash", "-euo", "pipefail", "-c", self.line]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)


@dataclass(frozen=True)
class Runbook:
    title: str
    variables: frozenset[str]
    sections: Mapping[str, str]  # in the page's order
    commands: tuple[Command, ...]


def alerts() -> list[str]:
    """The alerts that have a page."""
    return sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")


def read(alert: str) -> Runbook:
    return parse((FOLDER / f"{alert}.md").read_text(encoding="utf-8"))


def parse(text: str) -> Runbook:
    head, *parts = re.split(r"(?m)^## ", text)
    sections = {title.strip(): body.strip() for title, _, body in (part.partition("\n") for part in parts)}
    title = re.match(r"# (.+)\n", head)
    return Runbook(
        title=title[1] if title else "",
        variables=frozenset(re.findall(r"\b([A-Z]+)=", head)),
        sections=sections,
        commands=tuple(_commands(sections.get(COMMANDS, ""))),
    )


def _commands(section: str) -> list[Command]:
    found = []
    for block in re.findall(r"(?ms)^ *```console\n(.*?)^ *```$", section):
        first, *prints = [line.strip() for line in block.splitlines()]
        if not first.startswith("$ "):
            raise ValueError(f"a console block begins with a command, after `$ `, and not with {first!r}")
        found.append(Command(first.removeprefix("$ "), tuple(prints)))
    return found


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _loosely(pattern: str) -> str:
    """Columns may be any spaces apart, and a line may be indented."""
    return r"\s*" + pattern.replace(r"\ .*\ ", r"\s.*") + r"\s*"
