"""Which Debian packages were fetched, and what the project has found in those that a lock names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.rehearsal.difference import Difference
from toolkit.packages import Verdict

# Get:7 ADDRESS SUITE/COMPONENT ARCHITECTURE PACKAGE ARCHITECTURE VERSION [SIZE]; lines about lists have fewer words.
FETCHED = re.compile(r"\bGet:\d+ \S+ (?P<suite>[\w-]+)/\S+ \S+ (?P<name>[a-z0-9][a-z0-9+.-]+) \S+ (?P<version>\S+) \[")
# build/log/versions.log, by toolkit.packages.
JUDGED = re.compile(r"(?m)^(?P<suite>\S+) (?P<name>\S+) (?P<found>.+): (?P<verdict>\w+), locked (?P<locked>.*)$")


@dataclass(frozen=True, order=True)
class Package:
    """A package as a suite had it."""

    suite: str
    name: str
    version: str


def fetched(log: str) -> set[Package]:
    """The packages of a log, of apt alone or of an image's build."""
    return {Package(match["suite"], match["name"], match["version"]) for match in FETCHED.finditer(log)}


def by_suite(packages: Iterable[Package]) -> dict[str, dict[str, str]]:
    """Suite → package → version, in order; of a package that came in several, all of them."""
    found: dict[str, dict[str, str]] = {}
    for each in sorted(packages):
        versions = found.setdefault(each.suite, {})
        versions[each.name] = f"{versions[each.name]}, {each.version}" if each.name in versions else each.version
    return found


def judged(log: str) -> dict[str, Difference | None]:
    """Each package that a lock names and whose version was asked: None if it is one that was tried."""
    return {
        f"{match['suite']} {match['name']}": None
        if match["verdict"] == Verdict.TRIED.value
        else Difference(match["name"], f"Debian {match['suite']}", match["locked"], match["found"])
        for match in JUDGED.finditer(log)
    }
