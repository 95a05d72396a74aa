import pytest

from keel.data.circuit_breaker import CircuitBreaker
from tests.support.clock import Clock


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(1.0, clock)


def test_at_first_everybody_may_call(breaker: CircuitBreaker) -> None:
    assert [breaker.allows() for _ in range(3)] == [True] * 3
    assert not breaker.open


def test_after_a_failure_there_is_one_trial_for_each_period(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed()
    assert breaker.open
    clock.now += 0.9
    assert not breaker.allows()
    clock.now += 0.1
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    clock.now += 1.0  # the trial has said nothing
    assert [breaker.allows() for _ in range(3)] == [True, False, False]


def test_a_trial_that_fails_starts_the_period_anew(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed()
    clock.now += 1.0
    assert breaker.allows()
    clock.now += 0.5
    breaker.failed()
    clock.now += 0.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()


def test_one_success_lets_everybody_call_again(breaker: CircuitBreaker, clock: Clock) -> None:
    breaker.failed()
    clock.now += 1.0
    assert breaker.allows()
    breaker.succeeded()
    assert [breaker.allows() for _ in range(3)] == [True] * 3
    assert not breaker.open
