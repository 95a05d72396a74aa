"""Which end-to-end tests run beside which: two processes of pytest-xdist, each with a lane of tests.

The alerts wait for their windows most of the time. Meanwhile the other lane proves what touches neither the service's
release nor what that needs. All other tests measure, or do harm to what is everybody's: they run alone.
"""

import fcntl
import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# In this order: what needs no pods first, so that a run begins with nothing else on the cluster.
BESIDE = ["test_signatures", "test_images", "test_contract", "test_supply_chain", "test_judges", "test_release"]
WAITING = "test_alerts"
CLOSES_NODES = "one pod hangs"
# While the cluster is as it was brought up.
FIRST = "test_second_run_replaces_nothing"
# What asks of the service's use, when there has been much; what spends its error budget; then what brings many resource
# definitions, which keep the API server busy; at the very end what stops nodes.
LAST = [
    "test_dashboards",
    "test_alerts",
    "test_any_image",
    "test_overload",
    "test_soak",
    "test_cache",
    "test_identity",
    "test_limits",
    "test_database",
    "test_keda",
    "test_admission",
    "test_platform",
    "test_recovery",
]


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Each lane to one process, in the order that the tests have there."""

    def _split_scope(self, nodeid: str) -> str:
        return lane(nodeid)


def lane(nodeid: str) -> str:
    return "beside" if Path(nodeid.partition("::")[0]).stem in BESIDE else "service"


def place(item: pytest.Item) -> tuple[bool, int]:
    """By which tests are sorted."""
    file = item.path.stem
    order = BESIDE.index(file) if file in BESIDE else LAST.index(file) if file in LAST else -1
    return item.name != FIRST, order


def alone(item: pytest.Item) -> bool:
    """Whether nothing else may run meanwhile."""
    file = item.path.stem
    return file not in BESIDE and (file != WAITING or CLOSES_NODES in item.name)


class Turns:
    """Has a test wait until it may run. Both lanes lock the same file (flock(2)): for itself alone, or shared."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(file, os.O_RDWR | os.O_CREAT)
        self._alone = False

    def take(self, *, alone: bool) -> None:
        """Where the test before ran alone, so does this one at once: nobody else comes in between."""
        if not (alone and self._alone):
            fcntl.flock(self._file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            self._alone = alone

    def give(self) -> None:
        """What runs alone keeps its turn until a test comes that does not, or the end."""
        if not self._alone:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def end(self) -> None:
        """Nothing more runs in this lane."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._alone = False
