"""Two processes, or what would be two, that share their counts through a real Valkey."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from keel.data.valkey import from_settings
from keel.security.rate_limit_sync import KEPT_SECONDS, MAX_COUNTERS, RateLimitSync, _name
from keel.security.sliding_window import WINDOW, SlidingWindow
from tests.kit.subject import Settings
from tests.support.clock import Clock
from tests.support.servers import Valkey

pytestmark = pytest.mark.anyio

LIMIT = 10
START = 1_000_000.0 * WINDOW

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Process:
    """What one process has of it all; `sync` is what its background task does every so often."""

    def __init__(self, settings: Settings, clock: Clock, max_keys: int = 10_000) -> None:
        self.registry = CollectorRegistry()
        self.valkey = from_settings(settings, self.registry)
        self.addresses = SlidingWindow(LIMIT, max_keys, clock)
        self.subjects = SlidingWindow(LIMIT, max_keys, clock)
        windows = {"address": self.addresses, "token": self.subjects}
        self.counts = RateLimitSync(windows, self.valkey, 0.01, self.registry)

    async def sync(self) -> None:
        assert self.valkey
        await self.counts.sync(self.valkey)

    def allowed(self, count: int, key: str = "a") -> int:
        return sum(self.addresses.take(key) == 0 for _ in range(count))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    @property
    def alone(self) -> bool:
        return self.metric("rate_limit_fallback") == 1


@pytest.fixture(params=["valkey", "valkey_cluster"])
def valkey(request: pytest.FixtureRequest) -> Valkey:
    """Both kinds of server: in a cluster the keys of one command must be of one hash slot."""
    server: Valkey = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
async def start(
    settings: Settings, clock: Clock, valkey: Valkey, log_lines: Logs
) -> AsyncIterator[Callable[..., Process]]:
    del log_lines
    started: list[Process] = []

    def start(**others: Any) -> Process:
        given = {"valkey_url": valkey.url, "valkey_timeout_seconds": 2}
        started.append(Process(Settings(**settings.model_dump() | given), clock, **others))
        return started[-1]

    yield start
    for process in started:
        if process.valkey:
            await process.valkey.close()


async def test_together_they_allow_one_limit(start: Callable[..., Process]) -> None:
    one, two = start(), start()
    assert (one.allowed(4), two.allowed(3)) == (4, 3)
    for process in (one, two, one):
        await process.sync()
    assert two.allowed(9) == 3
    await two.sync()
    one.addresses.take("a")  # so that there is something to sync
    await one.sync()
    assert (one.allowed(9), two.allowed(9)) == (0, 0)


async def test_at_most_an_interval_more(start: Callable[..., Process]) -> None:
    processes = [start() for _ in range(3)]
    assert sum(process.allowed(99) for process in processes) == 3 * LIMIT  # before anyone has heard of the others
    for process in processes:
        await process.sync()
    assert sum(process.allowed(99) for process in processes) == 0


async def test_kinds_are_counted_apart(start: Callable[..., Process]) -> None:
    one, two = start(), start()
    assert one.allowed(99, "same") == LIMIT
    await one.sync()
    two.subjects.take("same")
    await two.sync()
    assert two.subjects.wait("same") == 0


async def test_a_process_that_is_new_learns_of_the_window_before(start: Callable[..., Process], clock: Clock) -> None:
    one = start()
    one.allowed(99)
    await one.sync()
    clock.now += 1.2 * WINDOW
    two = start()
    assert two.allowed(1) == 1
    await two.sync()
    assert two.allowed(99) == 1  # 2 in all: of the 10 before, 8 lie within the minute
    assert one.allowed(99) == 2


async def test_so_does_one_that_knows_a_part_of_it(start: Callable[..., Process], clock: Clock) -> None:
    one, two = start(), start()
    two.allowed(2)
    await two.sync()
    one.allowed(5)
    await one.sync()
    clock.now += WINDOW
    assert two.allowed(1) == 1
    await two.sync()
    assert two.allowed(99) == 2  # 7 before and 3 now


async def test_requests_counted_while_an_exchange_is_under_way(start: Callable[..., Process], valkey: Valkey) -> None:
    one, two = start(), start()
    one.allowed(2)
    await one.sync()  # connected
    one.allowed(2)
    syncing = asyncio.create_task(one.sync())
    await asyncio.sleep(0)
    one.allowed(2)
    await syncing
    await one.sync()
    assert two.allowed(1) == 1
    await two.sync()
    assert two.allowed(99) == 3
    (total, *_) = [valkey.execute("GET", key) for key in keys(valkey)]
    assert total == "7"


def keys(valkey: Valkey) -> list[str]:
    found = valkey.execute("KEYS", "*")
    assert isinstance(found, list)
    return found


async def test_what_is_kept_says_nothing_of_whom_and_goes(start: Callable[..., Process], valkey: Valkey) -> None:
    one = start()
    one.allowed(1, "192.0.2.77")
    one.subjects.take("alice@example.com")
    await one.sync()
    names = keys(valkey)
    assert len(names) == 2
    assert not any(secret in " ".join(names) for secret in ("192", "alice", "example", "77"))
    for name in names:
        seconds = valkey.execute("TTL", name)
        assert isinstance(seconds, int)
        assert WINDOW < seconds <= KEPT_SECONDS


async def test_without_valkey_each_allows_the_limit(settings: Settings, clock: Clock, log_lines: Logs) -> None:
    del log_lines
    process = Process(settings, clock)
    async with process.counts.running():
        assert process.allowed(99) == LIMIT
    assert process.alone


async def test_when_valkey_fails_and_comes_back(
    start: Callable[..., Process], valkey: Valkey, until: Until, log_lines: Logs
) -> None:
    one, two = start(), start()
    async with one.counts.running(), two.counts.running():
        await until(lambda: not one.alone and not two.alone)
        one.allowed(4)
        await until(lambda: keys(valkey))
        valkey.stop()
        one.allowed(1)
        two.allowed(1)
        await until(lambda: one.alone and two.alone)
        assert one.allowed(99) == 5  # it knows of its own, and limits
        assert two.allowed(99) == 9
        valkey.start()  # which remembers nothing
        await until(lambda: not one.alone and not two.alone)
        assert one.allowed(99) == two.allowed(99) == 0
        assert one.allowed(9, "b") == 9
        await until(lambda: one.addresses._counters["b"].sent == 9)
        assert two.allowed(1, "b") == 1
        await until(lambda: two.addresses.wait("b"))
    assert (one.metric("rate_limit_syncs_total", outcome="failed") or 0) > 0
    assert (one.metric("rate_limit_syncs_total", outcome="ok") or 0) > 0
    said = [line["message"] for line in log_lines() if line.get("message", "").startswith("rate limits")]
    assert said.count("rate limits are counted by each process alone") == 2
    assert said.count("rate limits are shared") == 4


async def test_it_recovers_though_nothing_is_to_be_sent(
    start: Callable[..., Process], valkey: Valkey, until: Until
) -> None:
    one = start()
    async with one.counts.running():
        await until(lambda: not one.alone)
        valkey.stop()
        one.allowed(1)
        await until(lambda: one.alone)
        one.addresses.take_unsent(10)
        valkey.start()
        await until(lambda: not one.alone)


async def test_valkey_that_refuses_is_none(start: Callable[..., Process], valkey: Valkey) -> None:
    one = start()
    one.allowed(3)
    valkey.execute("CONFIG", "SET", "maxmemory", 1)
    try:
        await one.sync()
    finally:
        valkey.execute("CONFIG", "SET", "maxmemory", 0)
    assert one.alone
    await one.sync()
    assert not one.alone
    assert [valkey.execute("GET", key) for key in keys(valkey)] == ["3"]


async def test_what_one_slot_refuses_is_sent_again_and_nothing_else(
    start: Callable[..., Process], valkey: Valkey
) -> None:
    one = start()
    names = {key: f"{_name('address', key)}:{int(START // WINDOW)}" for key in "ac"}  # of two slots
    for key in names:
        one.allowed(1, key)
    valkey.execute("LPUSH", names["a"], "not a number")
    await one.sync()
    assert one.alone
    assert valkey.execute("GET", names["c"]) == "1"
    valkey.execute("DEL", names["a"])
    await one.sync()
    assert not one.alone
    assert [valkey.execute("GET", name) for name in names.values()] == ["1", "1"]


async def test_a_cluster_can_spread_the_counts(start: Callable[..., Process], valkey: Valkey) -> None:
    one = start()
    for number in range(200):
        one.allowed(1, str(number))
    await one.sync()
    assert len({name.partition("}")[0] for name in keys(valkey)}) == 16
    assert one.metric("valkey_calls_total", operation="rate_limit", outcome="ok") == 1


async def test_a_valkey_that_hangs_holds_up_nobody(start: Callable[..., Process], valkey: Valkey) -> None:
    one = start()
    one.allowed(1)
    await one.sync()
    one.allowed(1)
    valkey.pause()
    try:
        started = time.monotonic()
        syncing = asyncio.create_task(one.sync())
        await asyncio.sleep(0)
        assert one.allowed(1) == 1
        await syncing
        assert time.monotonic() - started < 5
        assert one.alone
    finally:
        valkey.resume()


async def test_the_last_counts_are_sent_at_the_end(start: Callable[..., Process], valkey: Valkey, until: Until) -> None:
    one = start()
    async with one.counts.running():
        await until(lambda: not one.alone)
        one.allowed(3)
    assert [valkey.execute("GET", key) for key in keys(valkey)] == ["3"]


async def test_a_flood_of_addresses_is_sent_in_parts(start: Callable[..., Process], valkey: Valkey) -> None:
    one = start()
    for number in range(MAX_COUNTERS + 10):
        one.allowed(1, str(number))
    await one.sync()
    assert len(keys(valkey)) == MAX_COUNTERS
    await one.sync()
    assert len(keys(valkey)) == MAX_COUNTERS + 10


async def test_an_exchange_does_not_hold_up_requests(start: Callable[..., Process]) -> None:
    """The most that is sent at once, in both kinds, is sent and understood in little time."""
    one = start()
    await one.sync()
    times = []
    for turn in range(5):
        for number in range(MAX_COUNTERS):
            one.addresses.take(f"{turn}-{number}")
            one.subjects.take(f"{turn}-{number}")
        started = time.process_time()
        await one.sync()
        times.append(time.process_time() - started)
    assert min(times) < 0.25


async def test_nothing_to_send_is_not_sent(start: Callable[..., Process]) -> None:
    one = start()
    for _ in range(3):
        await one.sync()
    assert one.metric("rate_limit_syncs_total", outcome="ok") == 1
    assert json.dumps(one.metric("valkey_calls_total", operation="rate_limit", outcome="ok")) == "1.0"


async def test_no_one_waits_for_the_exchange(start: Callable[..., Process], until: Until) -> None:
    one, two = start(), start()
    async with contextlib.AsyncExitStack() as stack:
        for process in (one, two):
            await stack.enter_async_context(process.counts.running())
        await until(lambda: not one.alone and not two.alone)
        taken = one.allowed(6) + two.allowed(6)
        assert taken == 12  # at once: each learns with its next request that there were others
        await until(lambda: one.addresses.take("a") and two.addresses.take("a"))
