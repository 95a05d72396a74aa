"""`go build`, showing while it runs how much of what it has to compile is compiled."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from toolkit.go_modules import go_fetch
from toolkit.process import run
from toolkit.progress import Step

# How `go build -n` begins the commands for a package.
PACKAGE = re.compile(r"^#\n# (\S+)\n#$", re.MULTILINE)


def go_build(
    step: Step, flags: Sequence[str], packages: Sequence[str], *, log: str, cwd: Path, env: Mapping[str, str]
) -> None:
    """Build the packages, each of them a program. Raises CommandFailed."""
    env = {**env, **room(Path("/proc/meminfo"))}
    step.detail = "fetching modules"
    share = Share(step, to_compile([*flags, *packages], cwd=cwd, env=env), packages)
    run(["go", "build", *flags, "-v", *packages], log=log, cwd=cwd, env=env, each_line=share.named)
    step.detail = ""


def room(meminfo: Path) -> dict[str, str]:
    """The compiler keeps its garbage for as long as there is memory: collecting it takes time.

    Each of the processes that `go build` runs at once gets a share of what is available; beyond that it collects.
    Without a word on memory, as outside Linux, nothing is set.
    """
    try:
        found = re.search(r"(?m)^MemAvailable: +(\d+) kB$", meminfo.read_text())
    except OSError:
        found = None
    if not found:
        return {}
    share = int(found[1]) // 1024 // ((os.cpu_count() or 1) + 1)
    return {"GOGC": "off", "GOMEMLIMIT": f"{share}MiB"}


def to_compile(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> set[str]:
    """The packages that `go build` would compile with these arguments, because the build cache lacks them."""
    return set(PACKAGE.findall(go_fetch(["go", "build", "-n", *arguments], cwd=cwd, env=env).stderr))


class Share:
    """Counts in a step what `go build -v` names: each package when it begins to compile it."""

    def __init__(self, step: Step, packages: Collection[str], programs: Collection[str]) -> None:
        self._step = step
        self._packages = set(packages)
        self._programs = self._packages.intersection(programs)
        step.count(len(self._packages), "packages")
        self._show()

    def named(self, line: str) -> bool:
        """Count a line of output. Returns whether it names a package."""
        if line not in self._packages:
            return False
        self._step.done += 1
        self._programs.discard(line)
        self._show()
        return True

    def _show(self) -> None:
        # A program needs all the others. What was not named until then, another build has compiled meanwhile.
        if self._programs:
            self._step.detail = ""
        else:
            self._step.done = self._step.total
            self._step.detail = "linking"
