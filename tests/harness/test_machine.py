from pathlib import Path

import pytest

from tests.e2e import load, machine


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_seen", [])


def works(monkeypatch: pytest.MonkeyPatch, *times: float) -> None:
    """The machine is so many times as slow as at full speed, one time after the other."""
    took = iter(times)
    monkeypatch.setattr(machine, "_work", lambda: next(took) * machine.FULL_SPEED_SECONDS)


def test_what_was_slow_lately_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, 2, 3, 1, 1)
    assert [machine.slowness() for _ in range(3)] == [2, 3, 3]
    monkeypatch.setattr(machine, "REMEMBERED_SECONDS", 0.0)
    works(monkeypatch, 1.5)
    assert machine.slowness() == 1.5


def test_a_faster_machine_is_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, 0.5)
    assert machine.slowness() == 1


def test_it_is_measured() -> None:
    assert 1 <= machine.slowness() < 100


def test_a_load_is_as_much_for_a_slow_machine_as_for_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, 2.5)
    assert load.Load("https://links.localhost/", Path("ca.crt"), rate=100).rate == 40
