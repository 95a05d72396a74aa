import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e import lanes
from toolkit.paths import ROOT


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
    return SimpleNamespace(path=Path(f"tests/e2e/{file}.py"), name=name)


def test_order_and_lanes() -> None:
    up = item("test_up", lanes.FIRST)
    items = [item("test_recovery"), item("test_release"), item("test_alerts"), item("test_service"), up]
    items += [item("test_signatures"), item("test_dashboards")]
    found: dict[str, list[str]] = {}
    for each in sorted(items, key=lanes.place):
        found.setdefault(lanes.lane(f"{each.path}::{each.name}"), []).append(each.path.stem)
    assert found["beside"] == ["test_signatures", "test_release"]
    assert found["service"] == ["test_up", "test_service", "test_dashboards", "test_alerts", "test_recovery"]


def test_each_lane_has_a_process_of_its_own(tmp_path: Path) -> None:
    """The scheduler's private method is the one that pytest-xdist 3.8.0 asks."""
    for name in ("test_release", "test_alerts"):
        (tmp_path / f"{name}.py").write_text(
            "import pytest\n\n\n@pytest.mark.parametrize('x', range(5))\ndef test_it(x):\n    pass\n"
        )
    (tmp_path / "conftest.py").write_text(
        "from tests.e2e import lanes\n\n\n"
        "def pytest_xdist_make_scheduler(config, log):\n    return lanes.Lanes(config, log)\n"
    )
    command = [sys.executable, "-m", "pytest", "--numprocesses=2", "-vv", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout
    ran = set(re.findall(r"\[(gw\d)\].* (test_\w+)\.py::", said))
    assert len(ran) == 2, said
    assert {process for process, _ in ran} == {"gw0", "gw1"}


def test_only_alerts_have_company() -> None:
    assert lanes.alone(item("test_planned"))
    assert lanes.alone(item("test_alerts", f"test_trouble[{lanes.CLOSES_NODES}]"))
    assert not lanes.alone(item("test_alerts"))
    assert not lanes.alone(item("test_release"))


def test_every_file_and_trouble_that_is_named_is_there() -> None:
    folder = ROOT / "tests" / "e2e"
    assert [n for n in [*lanes.BESIDE, *lanes.LAST, lanes.WAITING] if not [*folder.rglob(f"{n}.py")]] == []
    assert lanes.CLOSES_NODES in (folder / "test_alerts.py").read_text(encoding="utf-8")
    assert lanes.FIRST in (folder / "test_up.py").read_text(encoding="utf-8")
