"""What is wrong with an image's packages, and what of it is let pass for a while."""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from toolkit.paths import ROOT, shown
from toolkit.process import Failure

EXCEPTIONS = ROOT / "delivery" / "exceptions.yaml"
# Advisories without a severity count as high: nobody has said that they are less.
SEVERE = {"critical", "high", "unrated"}
LONGEST = dt.timedelta(days=90)
FIELDS = {"id", "package", "reason", "until"}


@dataclass(frozen=True)
class Finding:
    """One weakness of one package. `fixed` is the version that ends it; '' where there is none yet."""

    id: str
    package: str
    version: str
    severity: str
    fixed: str
    source: str

    @property
    def fails(self) -> bool:
        """Only what can be mended, and is worth an upgrade at once."""
        return bool(self.fixed) and self.severity in SEVERE

    def __str__(self) -> str:
        mended = f"fixed in {self.fixed}" if self.fixed else "not fixed yet"
        return f"{self.id} ({self.severity}) in {self.package} {self.version}: {mended}; says {self.source}"


@dataclass(frozen=True)
class Exemption:
    """A finding that is let pass until the end of a day."""

    id: str
    package: str
    reason: str
    until: dt.date

    def matches(self, finding: Finding) -> bool:
        return (self.id, self.package) == (finding.id, finding.package)


def distinct(findings: Iterable[Finding]) -> list[Finding]:
    """Each weakness once, as the first source that tells of it has it; the worst come first."""
    found: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        found.setdefault((finding.id, finding.package), finding)
    order = ["critical", "high", "unrated", "medium", "low", "negligible"]
    return sorted(
        found.values(),
        key=lambda f: (not f.fails, order.index(f.severity) if f.severity in order else len(order), f.package, f.id),
    )


def exemptions(file: Path = EXCEPTIONS) -> list[Exemption]:
    """The exceptions file. Raises Failure."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failure(f"{shown(file)} cannot be read: {error}") from error
    entries = content.get("exceptions", "no list") if isinstance(content, dict) else "no list"
    if not isinstance(entries, list | None):
        raise Failure(f"{shown(file)} has no list of exceptions: write `exceptions: []` for none.")
    return [_exemption(entry, file) for entry in entries or []]


def _exemption(entry: object, file: Path) -> Exemption:
    if not isinstance(entry, dict) or set(entry) != FIELDS or not all(entry.values()):
        raise Failure(f"{shown(file)}: an exception has id, package, reason and until, and this has not: {entry}")
    if type(entry["until"]) is not dt.date:
        raise Failure(f"{shown(file)}: until of {entry['id']} is {entry['until']!r}: write a day, as in 2027-01-31.")
    return Exemption(str(entry["id"]), str(entry["package"]), str(entry["reason"]), entry["until"])


def objections(
    allowed: Collection[Exemption], findings: Collection[Finding], today: dt.date, *, complete: bool
) -> list[str]:
    """What is wrong with the exceptions themselves, a sentence each.

    Whether one is of use shows only when every source was asked (`complete`).
    """
    said = []
    for each in allowed:
        if each.until < today:
            said.append(
                f"The exception for {each.id} in {each.package} ended on {each.until}: upgrade, or set a new end."
            )
        elif each.until > today + LONGEST:
            said.append(
                f"The exception for {each.id} in {each.package} lasts until {each.until}: {LONGEST.days} days is the "
                "most, after which somebody thinks anew."
            )
        elif complete and not any(each.matches(f) for f in findings):
            said.append(f"The exception for {each.id} in {each.package} is of no use any more: remove it.")
    return said
