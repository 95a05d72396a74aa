"""Which revisions of a release were good, and so where to go back to.

Helm calls a revision "deployed" as soon as its objects are applied, whether they ever served or not. So the deploy
itself keeps a record of each that went all the way, in an annotation of the lock.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from k8s.release import GOOD, Revision

KEY = "delivery/good"
KEPT = 20
OURS = "delivery: "  # how the description of our revisions begins
CANARY = f"{OURS}canary "  # and of those in which a canary is in flight


@dataclass(frozen=True)
class Record:
    """A revision that went all the way."""

    revision: int
    updated: str
    """When Helm made it: a release that was removed and made anew counts from 1 again."""
    image: str
    proven: bool
    """Whether it had traffic enough during its bake time to prove anything."""


def read(text: str, history: Sequence[Revision]) -> list[Record]:
    """Those of the records whose revisions Helm still has, the oldest first."""
    there = {(each["revision"], each["updated"]) for each in history}
    records = [Record(**each) for each in json.loads(text or "[]")]
    return [each for each in records if (each.revision, each.updated) in there]


def write(records: Sequence[Record]) -> str:
    return json.dumps([asdict(each) for each in records[-KEPT:]])


def before(records: Sequence[Record], history: Sequence[Revision], revision: int) -> int | None:
    """The good revision to go back to from this one; None where there is none.

    Good are those with a record and, after the last of these, what somebody has released by other means. A revision of
    ours without a record was never finished.
    """
    good = {each.revision for each in records}
    last = max(good, default=0)
    by_others = [each for each in history if each["status"] in GOOD and not each["description"].startswith(OURS)]
    good |= {each["revision"] for each in by_others if each["revision"] > last}
    return max((each for each in good if each < revision), default=None)


def gone_back(records: Sequence[Record], to: int, made: Revision) -> list[Record]:
    """After a rollback: the revision that was gone back to is the newest good one, under the number that the rollback
    has given it, and what was good after it is not to be returned to."""
    kept = [each for each in records if each.revision < to]
    there = next((each for each in records if each.revision == to), None)
    if there is None:
        return kept
    return [*kept, Record(made["revision"], made["updated"], there.image, there.proven)]
