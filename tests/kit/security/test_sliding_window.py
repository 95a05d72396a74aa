import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keel.security.sliding_window import WINDOW, SlidingWindow
from tests.support.clock import Clock

START = 1_000_000 * WINDOW


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


def allowed(window: SlidingWindow, key: str, count: int) -> int:
    return sum(window.take(key) == 0 for _ in range(count))


def test_allows_the_limit_and_no_more(clock: Clock) -> None:
    window = SlidingWindow(10, 100, clock)
    assert allowed(window, "a", 30) == 10
    assert allowed(window, "b", 5) == 5
    assert allowed(window, "b", 30) == 5


def test_zero_is_no_limit(clock: Clock) -> None:
    window = SlidingWindow(0, 100, clock)
    assert allowed(window, "a", 1000) == 1000
    assert window.wait("a") == 0
    assert len(window) == 0


def test_the_window_before_counts_as_far_as_it_lies_within_the_minute(clock: Clock) -> None:
    window = SlidingWindow(100, 100, clock)
    assert allowed(window, "a", 100) == 100
    clock.now = START + WINDOW + 0.25 * WINDOW
    assert allowed(window, "a", 200) == 25
    clock.now = START + WINDOW + 0.75 * WINDOW
    assert allowed(window, "a", 200) == 50
    clock.now = START + 2 * WINDOW
    assert allowed(window, "a", 200) == 25


def test_two_windows_later_nothing_does(clock: Clock) -> None:
    window = SlidingWindow(10, 100, clock)
    allowed(window, "a", 30)
    clock.now += 2 * WINDOW
    assert len(window) == 1
    assert allowed(window, "a", 30) == 10


def test_asking_does_not_count(clock: Clock) -> None:
    window = SlidingWindow(2, 100, clock)
    assert [window.wait("a") for _ in range(9)] == [0] * 9
    assert len(window) == 0
    assert allowed(window, "a", 2) == 2
    assert window.wait("a") == window.take("a") > 0
    clock.now += WINDOW
    assert window.wait("a") == window.take("a") > 0


@given(
    limit=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 90), st.integers(1, 60)), max_size=8),
)
def test_the_seconds_told_are_enough_and_not_too_many(limit: int, steps: list[tuple[float, int]]) -> None:
    clock = Clock()
    window = SlidingWindow(limit, 100, clock)
    for seconds, count in steps:
        clock.now += seconds
        allowed(window, "a", count)
    wait = window.wait("a")
    assert isinstance(wait, int)
    assert wait <= 2 * WINDOW
    then = clock.now
    if wait > 2:
        clock.now = then + wait - 2
        assert window.wait("a") > 0
    clock.now = then + wait + 1e-3  # to be on the safe side of rounding
    assert window.wait("a") == 0


@given(steps=st.lists(st.tuples(st.floats(0, 40), st.integers(1, 60)), max_size=20))
def test_never_more_than_twice_the_limit_in_a_minute(steps: list[tuple[float, int]]) -> None:
    """What the approximation allows at the worst: a burst at the end of a window, and one at the end of the next."""
    clock = Clock()
    window = SlidingWindow(20, 100, clock)
    taken: list[float] = []
    for seconds, count in steps:
        clock.now += seconds
        taken += [clock.now] * allowed(window, "a", count)
        assert sum(clock.now - WINDOW < each for each in taken) <= 40


@pytest.mark.parametrize("step", [-10.0, -WINDOW, -100 * WINDOW, 100 * WINDOW])
def test_a_clock_that_is_set_does_not_lock_anyone_out(clock: Clock, step: float) -> None:
    window = SlidingWindow(10, 100, clock)
    allowed(window, "a", 30)
    clock.now += step
    assert window.wait("a") <= 2 * WINDOW
    clock.now += 2 * WINDOW
    assert allowed(window, "a", 30) == 10


def test_the_least_recently_seen_are_forgotten(clock: Clock) -> None:
    window = SlidingWindow(1, 2, clock)
    for key in ("a", "b", "a", "c"):
        window.take(key)
    assert [window.take(key) > 0 for key in ("a", "c", "b")] == [True, True, False]


def test_a_flood_of_addresses_takes_bounded_memory(clock: Clock) -> None:
    tracemalloc.start()
    window = SlidingWindow(100, 1000, clock)
    for number in range(50_000):
        window.take(f"192.0.2.{number}")
        clock.now += 0.01
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(window) <= 2000
    assert len(window.take_unsent(10_000)) <= 2000
    assert size < 1_500_000


def test_a_client_that_stays_leaves_no_trail(clock: Clock) -> None:
    window = SlidingWindow(10, 100, clock)
    for _ in range(10):
        window.take("a")
        clock.now += WINDOW
    window.take("a")
    counter = window.take_unsent(10)[-1]
    length = 0
    while counter.before is not None:
        counter, length = counter.before, length + 1
    assert length == 1


class TestSharing:
    def test_what_was_counted_is_handed_out_once(self, clock: Clock) -> None:
        window = SlidingWindow(10, 100, clock)
        allowed(window, "a", 3)
        allowed(window, "b", 20)
        assert [(each.key, each.mine) for each in window.take_unsent(10)] == [("a", 3), ("b", 10)]
        assert window.take_unsent(10) == []
        window.take("a")
        assert [(each.key, each.mine) for each in window.take_unsent(10)] == [("a", 4)]

    def test_a_part_at_a_time(self, clock: Clock) -> None:
        window = SlidingWindow(10, 100, clock)
        for key in ("a", "b", "c"):
            window.take(key)
        assert [each.key for each in window.take_unsent(2)] == ["a", "b"]
        assert [each.key for each in window.take_unsent(2)] == ["c"]

    def test_what_could_not_be_sent_is_handed_out_again_while_it_matters(self, clock: Clock) -> None:
        window = SlidingWindow(10, 100, clock)
        window.take("a")
        counters = window.take_unsent(10)
        window.put_back(counters)
        clock.now += WINDOW
        window.take("b")
        assert [each.key for each in window.take_unsent(10)] == ["a", "b"]
        clock.now += WINDOW
        window.put_back(counters)
        window.take("c")
        assert [each.key for each in window.take_unsent(10)] == ["c"]

    def test_what_others_counted_counts(self, clock: Clock) -> None:
        window = SlidingWindow(10, 100, clock)
        window.take("a")
        (counter,) = window.take_unsent(10)
        counter.others = 7
        assert allowed(window, "a", 10) == 2
        clock.now += 1.5 * WINDOW
        assert allowed(window, "a", 10) == 5

    def test_when_others_had_much_more_than_the_limit(self, clock: Clock) -> None:
        window = SlidingWindow(10, 100, clock)
        window.take("a")
        window.take_unsent(10)[0].others = 39
        clock.now += 0.5 * WINDOW
        wait = window.take("a")
        assert wait == pytest.approx((0.5 + 0.75) * WINDOW, abs=1)


def test_it_is_quick(clock: Clock) -> None:
    window = SlidingWindow(10**9, 10_000, clock)
    keys = [f"192.0.2.{number}" for number in range(1000)]
    started = time.perf_counter()
    for _ in range(20):
        for key in keys:
            window.take(key)
    assert (time.perf_counter() - started) / 20_000 < 20e-6  # it takes 1e-6 on a machine of today
