"""What a deploy has done: for the person at the terminal, for the run's page of the pipeline, and for programs."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from delivery.deploy.exits import MEANINGS, Exit
from toolkit.paths import BUILD
from toolkit.progress import spell

FILE = BUILD / "report" / "deploy.json"


@dataclass
class Step:
    name: str
    seconds: float
    passed: bool
    note: str = ""


@dataclass
class Version:
    """What serves: a revision of Helm's, an image, and what the image calls its version."""

    revision: int = 0
    image: str = ""
    version: str = ""

    def __str__(self) -> str:
        if not self.revision:
            return "nothing"
        image = self.image.rpartition("/")[2]
        name, _, digest = image.partition("@")
        short = f"{name}@{digest[:19]}" if digest else name
        return f"revision {self.revision}, {self.version or 'version unknown'} ({short})"


@dataclass
class Summary:
    """Filled in as the deploy goes on."""

    command: str
    environment: str
    image: str = ""
    who: str = ""
    steps: list[Step] = field(default_factory=list)
    before: Version = field(default_factory=Version)
    after: Version = field(default_factory=Version)
    served_after: float | None = None
    """Seconds from the start until only the new version served."""
    changes: str = ""
    untested: str = ""
    """Why `helm test` did not run, where it did not."""
    baked: str = ""
    proven: bool = False
    failure: str = ""
    links: dict[str, str] = field(default_factory=dict)
    exit: Exit = Exit.DONE

    def rows(self) -> list[tuple[str, str]]:
        rows = [
            ("outcome", f"{MEANINGS[self.exit]} (exit {self.exit:d})"),
            ("before", str(self.before)),
            ("now", str(self.after)),
        ]
        if self.changes:
            rows.append(("changes", self.changes))
        if self.served_after is not None:
            rows.append(("served alone", f"after {spell(self.served_after)}"))
        if self.untested:
            rows.append(("helm test", f"did not run: {self.untested}"))
        if self.baked:
            rows.append(("bake time", self.baked))
        return rows + list(self.links.items())

    def text(self) -> str:
        width = max(len(name) for name, _ in self.rows())
        steps = max([len(step.name) for step in self.steps], default=0)
        lines = ["", f"{self.command} {self.environment} {self.image}".rstrip()]
        for step in self.steps:
            mark = "ok    " if step.passed else "FAILED"
            lines.append(f"  {mark}  {step.name:<{steps}}  {step.seconds:6.1f} s  {step.note}".rstrip())
        lines += ["", *(f"  {name:<{width}}  {value}" for name, value in self.rows())]
        return "\n".join([*lines, ""])

    def markdown(self) -> str:
        """For $GITHUB_STEP_SUMMARY."""
        mark = {Exit.DONE: "✅", Exit.UNPROVEN: "⚠️"}.get(self.exit, "❌")
        lines = [f"### {mark} {self.command} {self.environment}", "", f"`{self.image}`" if self.image else "", ""]
        lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in self.rows()), ""]
        lines += ["| step | seconds | |", "|---|---:|---|"]
        lines += [
            f"| {_cell(s.name)} | {s.seconds:.1f} | {'ok' if s.passed else '**failed**'} {_cell(s.note)} |"
            for s in self.steps
        ]
        if self.failure:
            lines += ["", "```", self.failure.replace("```", "'''"), "```"]
        return "\n".join(lines) + "\n"

    def write(self, file: Path) -> None:
        """As JSON, and for a pipeline where one asks for it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({**asdict(self), "outcome": MEANINGS[self.exit]}, indent=2) + "\n", encoding="utf-8")
        if page := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(page).open("a", encoding="utf-8") as out:
                out.write(self.markdown())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
