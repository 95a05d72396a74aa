"""What a rehearsal says: each step with its time, and what was fetched in versions other than the locks'."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from tests.rehearsal import distributions, packages
from tests.rehearsal.difference import Difference
from tests.rehearsal.machine import Machine
from tests.rehearsal.steps import CHECKOUT
from toolkit import versions
from toolkit.packages import version_in
from toolkit.paths import BUILD
from toolkit.process import succeeds
from toolkit.progress import spell

FILE = BUILD / "report" / "rehearsal.json"
PYTHON = f"{CHECKOUT}/.venv/bin/python"
DOCKER = f"{CHECKOUT}/build/bin/docker"
# Evaluated in the machine: its Python is not ours.
MARKERS = "import json; from packaging.markers import default_environment; print(json.dumps(default_environment()))"
# Each is a file system of its own.
PLACES = {"/": "system", "/root": "checkout and caches", "/var/lib/docker": "engine"}


@dataclass
class Report:
    """Filled step by step; what was not reached is not in it."""

    commit: str
    uncommitted: list[str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    debian: dict[str, dict[str, str]] = field(default_factory=dict)
    distributions: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    compared: int = 0
    disk_mib: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record a step, whether it succeeds or not."""
        started = time.monotonic()
        row: dict[str, Any] = {"name": name, "pass": False}
        self.steps.append(row)
        try:
            yield
            row["pass"] = True
        finally:
            row["seconds"] = round(time.monotonic() - started, 1)

    def inspect(self, machine: Machine, logs: Sequence[Path]) -> None:
        """Ask the machine what it has now, and read the logs for what it has fetched."""
        self._versions(machine)
        said = {file: file.read_text(encoding="utf-8", errors="replace") for file in logs}
        self.debian = packages.by_suite(packages.fetched("".join(said.values())))
        judged = packages.judged("".join(text for file, text in said.items() if file.name == "versions.log"))
        self._compare(len(judged), [each for each in judged.values() if each])
        if machine.has(DOCKER):
            self.debian |= _base(machine)
        if machine.has(f"{CHECKOUT}/.venv/.made"):
            self._distributions(machine)
        # A file that goes away meanwhile is no reason to fail.
        used = machine.output("sh", "-c", 'du --one-file-system -sk "$@" || true', "du", *PLACES)
        sizes = {place: int(size) // 1024 for size, place in (line.split("\t") for line in used.splitlines())}
        self.disk_mib = {PLACES[place]: size for place, size in sizes.items()}

    @property
    def unlocked(self) -> list[str]:
        """The distributions that are not the lock's, though pip was given hashes."""
        return [each.name for each in self.differences if each.origin == distributions.ORIGIN]

    def write(self, file: Path = FILE) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """The steps as a table; the rest in words, or in a second table."""
        steps = Table("step", Column("took", justify="right"), "")
        for row in self.steps:
            steps.add_row(escape(row["name"]), spell(row["seconds"]), "" if row["pass"] else "[red]failed[/]")
        console.print(steps)
        console.print("Versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()))
        counts = (f"{len(names)} from {suite}" for suite, names in self.debian.items())
        console.print("Debian packages: " + ", ".join(counts))
        console.print("Disk: " + ", ".join(f"{place} {size:,} MiB" for place, size in self.disk_mib.items()))
        if self.differences:
            table = Table("fetched in another version", "from", "locked", "fetched")
            for each in self.differences:
                table.add_row(each.name, each.origin, each.locked, each.fetched)
            console.print(table)
        elif self.compared:
            console.print(f"Nothing differs: all {self.compared} things that a lock names came in a locked version.")

    def _versions(self, machine: Machine) -> None:
        asked = {"Debian": ("cat", "/etc/debian_version"), "Go": ("go", "env", "GOVERSION")}
        if machine.has(PYTHON):
            asked["Python"] = (PYTHON, "--version")
            asked["pip to begin with"] = (PYTHON, "-m", "ensurepip", "--version")
        if machine.has(DOCKER):
            asked["Docker"] = (DOCKER, "--version")
        self.versions = {name: version_in(machine.output(*argv)) for name, argv in asked.items()}

    def _distributions(self, machine: Machine) -> None:
        found = distributions.installed(machine.output(PYTHON, "-m", "pip", "list", "--format=json"))
        requirements = machine.output("cat", f"{CHECKOUT}/requirements/dev.txt")
        wanted = distributions.locked(requirements, json.loads(machine.output(PYTHON, "-c", MARKERS)))
        self.distributions = {name: str(version) for name, version in found.items()}
        self._compare(len(wanted), distributions.differences(wanted, found))

    def _compare(self, compared: int, differences: list[Difference]) -> None:
        self.compared += compared
        self.differences += differences


def _base(machine: Machine) -> dict[str, dict[str, str]]:
    """The packages of the base image, if it was made: of these apt says nothing."""
    base = versions.load().base
    if not succeeds(machine.command(DOCKER, "image", "inspect", base["name"])):
        return {}
    query = ("dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    listing = machine.output(DOCKER, "run", "--rm", "--network=none", base["name"], *query)
    return {f"{base['suite']} ({base['name']})": dict(line.split() for line in listing.splitlines())}
