import itertools
from pathlib import Path

import pytest

from tests.e2e import load, machine


def works(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    took = itertools.cycle(seconds)
    monkeypatch.setattr(machine, "_work", lambda: next(took))


def test_the_quickest_of_three_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    full = machine.FULL_SPEED_SECONDS
    works(monkeypatch, 4 * full, 2 * full, 3 * full)
    assert machine.slowness() == 2


def test_a_faster_machine_is_at_full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, machine.FULL_SPEED_SECONDS / 2)
    assert machine.slowness() == 1


def test_it_is_measured() -> None:
    assert 1 <= machine.slowness() < 100


def test_a_load_is_as_much_for_a_slow_machine_as_for_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, 2.5 * machine.FULL_SPEED_SECONDS)
    assert load.Load("https://links.localhost/", Path("ca.crt"), rate=100).rate == 40
