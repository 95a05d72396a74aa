import fcntl
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from k8s.kind.paths import ROOT
from tests.e2e import lanes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "turns.lock"


def free(file: Path, *, alone: bool) -> bool:
    """Whether the other lane would get its turn now."""
    other = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(other, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(other)
    return True


def test_what_runs_alone_keeps_its_turn_until_something_else_comes(file: Path) -> None:
    turns = lanes.Turns(file)
    turns.take(alone=True)
    turns.give()
    assert not free(file, alone=False)
    turns.take(alone=True)
    turns.give()
    assert not free(file, alone=False)
    turns.take(alone=False)
    assert free(file, alone=False)
    assert not free(file, alone=True)
    turns.give()
    assert free(file, alone=True)


def test_the_end_of_a_lane_frees_the_other(file: Path) -> None:
    turns = lanes.Turns(file)
    turns.take(alone=True)
    turns.end()
    assert free(file, alone=True)


def item(file: str, name: str = "test_it") -> Any:
    marks: list[Any] = []
    return SimpleNamespace(path=Path(f"tests/e2e/{file}.py"), name=name, add_marker=marks.append, marks=marks)


def test_order_and_lanes() -> None:
    up = item("test_up", lanes.FIRST)
    items = [item("test_recovery"), item("test_release"), item("test_alerts"), item("test_service"), up]
    items += [item("test_signatures"), item("test_quiet")]
    lanes.arrange(items)
    lane: dict[str, list[str]] = {}
    for each in items:
        lane.setdefault(each.marks[0].args[0], []).append(each.path.stem)
    assert lane["beside"] == ["test_signatures", "test_release"]
    assert lane["service"] == ["test_up", "test_service", "test_quiet", "test_alerts", "test_recovery"]


def test_only_alerts_have_company() -> None:
    assert lanes.alone(item("test_zero_downtime"))
    assert lanes.alone(item("test_alerts", f"test_trouble[{lanes.CLOSES_NODES}]"))
    assert not lanes.alone(item("test_alerts"))
    assert not lanes.alone(item("test_release"))


def test_every_file_and_trouble_that_is_named_is_there() -> None:
    folder = ROOT / "tests" / "e2e"
    assert [n for n in [*lanes.BESIDE, *lanes.LAST, lanes.WAITING] if not (folder / f"{n}.py").exists()] == []
    assert lanes.CLOSES_NODES in (folder / "test_alerts.py").read_text(encoding="utf-8")
    assert lanes.FIRST in (folder / "test_up.py").read_text(encoding="utf-8")
