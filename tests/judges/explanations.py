"""explained.yaml: the findings we know of and do not follow, a line each, with the reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from tests.judges.verdict import Finding

FILE = Path(__file__).with_name("explained.yaml")
WANTED = {"judge", "check", "where", "why"}
ALLOWED = WANTED | {"says"}


@dataclass(frozen=True)
class Explanation:
    """Why a judge's finding is left.

    `where` and `says` are patterns, in which `*` matches anything: of where it was found (scenario/Kind/name, or a
    Dockerfile's path), and of what the judge says.
    """

    judge: str
    check: str
    where: str
    why: str
    says: str = "*"

    def explains(self, finding: Finding) -> bool:
        """Whether the finding is the one meant."""
        same = (self.judge, self.check) == (finding.judge, finding.check)
        return same and fnmatchcase(finding.where, self.where) and fnmatchcase(finding.message, self.says)


def load(path: Path = FILE) -> list[Explanation]:
    """Read the file; a list of places or words is an explanation for each. Raises ValueError if one is not whole."""
    explanations = []
    for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), start=1):
        places, words = _each(entry.get("where")), _each(entry.get("says", "*"))
        texts = [*(text for key, text in entry.items() if key not in {"where", "says"}), *places, *words]
        if not WANTED <= set(entry) <= ALLOWED or not all(isinstance(text, str) and text.strip() for text in texts):
            raise ValueError(
                f"{path.name}, entry {number}: give each of {', '.join(sorted(WANTED))}, perhaps `says`, and no more"
            )
        explanations += [Explanation(**{**entry, "where": place, "says": said}) for place in places for said in words]
    return explanations


def _each(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def unexplained(findings: Iterable[Finding], explanations: Iterable[Explanation]) -> list[Finding]:
    """The findings for which nobody gave a reason."""
    known = list(explanations)
    return [each for each in findings if not any(one.explains(each) for one in known)]


def stale(explanations: Iterable[Explanation], findings: Iterable[Finding]) -> list[Explanation]:
    """The explanations of what is not found any more."""
    found = list(findings)
    return [each for each in explanations if not any(each.explains(one) for one in found)]
