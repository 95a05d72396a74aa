import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from keel.observability.event_loop import EventLoopLag

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    assert found is not None
    return found


async def test_a_blocked_loop_is_seen(registry: CollectorRegistry, until: Until) -> None:
    lag = EventLoopLag(registry)
    async with lag.watching():
        await until(lambda: value(registry, "event_loop_lag_seconds_count") >= 1)
        before = value(registry, "event_loop_lag_seconds_count")
        time.sleep(0.4)  # noqa: ASYNC251
        await until(lambda: value(registry, "event_loop_lag_seconds_count") > before)
    assert 0.29 < value(registry, "event_loop_lag_max_seconds") < 5
    late = value(registry, "event_loop_lag_seconds_count") - value(registry, "event_loop_lag_seconds_bucket", le="0.25")
    assert late == 1


async def test_it_ends_with_the_application(registry: CollectorRegistry) -> None:
    before = asyncio.all_tasks()
    async with EventLoopLag(registry).watching():
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


async def test_the_largest_of_the_last_minute(registry: CollectorRegistry) -> None:
    lag = EventLoopLag(registry)
    assert lag.largest(0) == 0
    for now, late in ((0, 0.3), (10, 0.5), (20, 0.2), (30, 0.4), (31, 0.4), (50, 0.1)):
        lag.note(late, now)
    assert [lag.largest(now) for now in (50, 70, 71, 91, 92, 110, 111)] == [0.5, 0.5, 0.4, 0.4, 0.1, 0.1, 0]


async def test_it_does_not_grow(registry: CollectorRegistry) -> None:
    lag = EventLoopLag(registry)
    for number in range(10_000):
        lag.note(1 / (number + 1), number / 10)
    assert len(lag._largest) <= 601
