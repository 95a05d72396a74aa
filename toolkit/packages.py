"""Debian packages whose version a suite decides, and the versions of them that will do."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from toolkit import apt
from toolkit.process import Failure, log_file, output

Say = Callable[[str], None]
UNKNOWN = "of an unknown version"


class Verdict(Enum):
    TRIED = "tried"
    UNTRIED = "untried"  # it is used, and that is said
    REFUSED = "refused"


@dataclass(frozen=True)
class Held:
    """What a package is held to; see images.lock.yaml for what the fields mean."""

    version: str
    least: str = ""
    asks: str = ""

    def judge(self, found: str) -> Verdict:
        if f"{found}.".startswith(f"{self.version}."):
            return Verdict.TRIED
        if self.least and found != UNKNOWN and _numbers(found) >= _numbers(self.least):
            return Verdict.UNTRIED
        return Verdict.REFUSED


@dataclass(frozen=True)
class Packages:
    """Packages of one suite that are fetched together."""

    name: str
    suite: str
    packages: tuple[str, ...]
    held: dict[str, Held]
    libraries: tuple[str, ...] = ()

    def lines(self) -> str:
        """What offline/images/packages/hold reads."""
        return "".join(f"{k} {v.version} {v.least or '-'} {v.asks or '-'}\n" for k, v in self.held.items())

    def judge(self, package: str, found: str) -> Verdict:
        """What to think of the version of a package. It is noted in build/log/versions.log."""
        verdict = self.held[package].judge(found)
        with log_file("versions").open("a", encoding="utf-8") as log:
            log.write(f"{self.suite} {package} {found}: {verdict.value}, locked {self.held[package].version}\n")
        return verdict

    def sentence(self, package: str, found: str) -> str:
        """What people should know of a version that was not tried."""
        held, here = self.held[package], f"Debian's {self.suite} has {package} {found}"
        if held.judge(found) is Verdict.UNTRIED:
            return f"{here}, which was never tried here ({held.version} was): going on with it."
        return f"{here}, but {held.least or held.version}{' or newer' if held.least else ''} is needed."

    def accept(self, package: str, found: str, say: Say) -> None:
        """Say what was never tried. Raises Unusable for what will not do."""
        verdict = self.judge(package, found)
        if verdict is Verdict.REFUSED:
            raise apt.Unusable(self.sentence(package, found))
        if verdict is Verdict.UNTRIED:
            say(self.sentence(package, found))


def read(name: str, entry: Mapping[str, Any], version: str = "") -> Packages:
    """An entry of a lock file. `version` is what packages are held to for which it names none."""
    return Packages(
        name=name,
        suite=entry["suite"],
        packages=tuple(entry["packages"]),
        held={package: Held(**{"version": version, **held}) for package, held in entry["held"].items()},
        libraries=tuple(entry.get("libraries", ())),
    )


def version_in(text: str) -> str:
    """The first version in a text: 28.5.2 in `Docker version 28.5.2+dfsg4, build 1`, and in `5:28.5.2-1`."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else UNKNOWN


def held_in(line: str) -> dict[str, str]:
    """The package and version that offline/images/packages/hold says in a line of an image's build."""
    found = re.search(r"\bheld: (\S+) (\S*)$", line)
    return {found[1]: version_in(found[2])} if found else {}


def fetch(group: Packages, target: Path, say: Say) -> None:
    """Fetch packages and unpack them in a folder, which is there only if their versions will do. Raises Failure."""
    with apt.unpacked([*group.packages, *group.libraries], group.suite, beside=target) as (root, versions):
        accept(group, root, versions, say)
        root.rename(target)


def accept(group: Packages, root: Path, versions: Mapping[str, str], say: Say) -> None:
    """Ask unpacked programs, or else their packages, for their versions. Raises Unusable."""
    for package, held in group.held.items():
        found = _said(root, held.asks) if held.asks else versions[package]
        group.accept(package, version_in(found), say)


def _said(root: Path, file: str) -> str:
    try:
        return output([*command(root, file), "--version"])
    except Failure:  # not for this system, such as one with an older C library
        return ""


def command(root: Path, file: str) -> list[str]:
    """The command that runs an unpacked program: with the C library that was unpacked with it, if there is one."""
    loaders = sorted(root.glob("usr/lib*/ld-linux-*.so.*"))
    if not loaders:
        return [str(root / file)]
    libraries = ":".join(map(str, root.glob("usr/lib/*-linux-gnu*")))
    return [str(loaders[0]), "--library-path", libraries, str(root / file)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
