"""Feeds: on a real Valkey, which goes away and comes back, and without one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from keel.data.feed import AT_ONCE, MISSED, Entry, Feed, FeedMetrics, position
from keel.data.valkey import from_settings
from tests.kit.subject import Settings
from tests.support.servers import Valkey

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
KEPT = 50


class Process:
    """What one process has of a feed."""

    def __init__(self, settings: Settings | None, **limits: int) -> None:
        self.registry = CollectorRegistry()
        self.valkey = from_settings(settings, self.registry) if settings else None
        metrics = FeedMetrics(self.registry)
        self.feed = Feed("probe:feed:news", self.valkey, metrics, name="news", **{"kept": KEPT, **limits})

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, {"feed": "news", **labels})


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def shared(settings: Settings, valkey: Valkey) -> Settings:
    return type(settings)(**settings.model_dump() | {"valkey_url": valkey.url, "valkey_timeout_seconds": 1})


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a process; with settings it has a Valkey, without them it is alone."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(settings: Settings | None = None, **limits: int) -> Process:
            process = Process(settings, **limits)
            if process.valkey:
                stack.push_async_callback(process.valkey.close)
            await stack.enter_async_context(process.feed.running())
            return process

        yield start


@pytest.fixture(params=["shared", "alone"])
def where(request: pytest.FixtureRequest) -> Settings | None:
    found: Settings | None = request.getfixturevalue("shared") if request.param == "shared" else None
    return found


async def take(entries: AsyncIterator[Entry], count: int) -> list[Entry]:
    async with asyncio.timeout(30):
        return [await anext(entries) for _ in range(count)]


def data(entries: list[Entry]) -> list[str]:
    return [entry.data for entry in entries]


async def publish(feed: Feed, *numbers: int) -> None:
    for number in numbers:
        assert await feed.publish(str(number))


async def test_all_subscribers_hear_all_in_one_order(start: Start, where: Settings | None) -> None:
    process = await start(where)
    async with process.feed.subscribe() as one, process.feed.subscribe() as two:
        hearing = asyncio.gather(take(one, 20), take(two, 20))
        await asyncio.sleep(0)
        assert process.metric("feed_subscribers") == 2
        await asyncio.gather(*(publish(process.feed, number) for number in range(20)))
        first, second = await hearing
    assert first == second
    assert sorted(map(int, data(first))) == list(range(20))
    assert [position(entry.id) for entry in first] == sorted(position(entry.id) for entry in first)
    assert process.metric("feed_subscribers") == 0
    assert process.metric("feed_events_total", outcome="published") == 20


async def test_who_has_heard_of_nothing_goes_on_where_it_was(start: Start, where: Settings | None) -> None:
    process = await start(where)
    async with process.feed.subscribe():
        place = process.feed.position
    await publish(process.feed, 0)
    async with process.feed.subscribe(place) as entries:
        assert data(await take(entries, 1)) == ["0"]


async def test_many_subscribers_leave_others_their_turns(start: Start, where: Settings | None) -> None:
    process = await start(where)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def hear(entries: AsyncIterator[Entry]) -> int:
        await anext(entries)
        return turns

    async with contextlib.AsyncExitStack() as stack:
        subscribed = [await stack.enter_async_context(process.feed.subscribe()) for _ in range(5 * AT_ONCE)]
        hearing = asyncio.gather(*map(hear, subscribed))
        counting = asyncio.create_task(count())
        await process.feed.publish("news")
        heard = await hearing
        counting.cancel()
    assert max(heard) - min(heard) >= 3


async def test_an_event_may_have_a_type(start: Start, where: Settings | None) -> None:
    process = await start(where)
    async with process.feed.subscribe() as entries:
        hearing = asyncio.create_task(take(entries, 1))
        await asyncio.sleep(0)
        await process.feed.publish("text\nof two lines", "note")
        (entry,) = await hearing
    assert (entry.data, entry.event) == ("text\nof two lines", "note")


async def test_it_goes_on_after_what_was_seen(start: Start, where: Settings | None) -> None:
    process = await start(where)
    async with process.feed.subscribe() as entries:
        hearing = asyncio.create_task(take(entries, 3))
        await asyncio.sleep(0)
        await publish(process.feed, 0, 1, 2)
        seen = await hearing
    await publish(process.feed, 3, 4)
    async with process.feed.subscribe(seen[1].id) as entries:
        hearing = asyncio.create_task(take(entries, 5))
        await asyncio.sleep(0)
        await publish(process.feed, 5, 6)
        assert data(await hearing) == ["2", "3", "4", "5", "6"]


@pytest.mark.parametrize("after", ["1-1", "", "99999999999999999999-1", "of another kind"])
async def test_what_is_not_kept_any_more_is_said(start: Start, where: Settings | None, after: str) -> None:
    process = await start(where)
    await publish(process.feed, 0)
    async with process.feed.subscribe(after) as entries:
        missed, kept = await take(entries, 2)
    assert (missed.event, missed.id) == (MISSED, "")
    assert kept.data == "0"


async def test_only_the_last_ones_are_kept(start: Start) -> None:
    process = await start()
    await publish(process.feed, *range(2 * KEPT))
    async with process.feed.subscribe("1-1") as entries:
        assert data((await take(entries, KEPT + 1))[1:]) == list(map(str, range(KEPT, 2 * KEPT)))


async def test_a_subscriber_that_does_not_keep_up_is_dropped_and_no_other(start: Start, where: Settings | None) -> None:
    process = await start(where, waiting=3)
    async with process.feed.subscribe() as slow, process.feed.subscribe() as quick:
        first = asyncio.gather(take(slow, 1), take(quick, 1))
        await asyncio.sleep(0)
        await publish(process.feed, 0)
        (seen,), _ = await first
        for number in range(1, 6):
            next_ = asyncio.create_task(take(quick, 1))
            await publish(process.feed, number)
            assert data(await next_) == [str(number)]
        assert process.metric("feed_subscribers_dropped_total") == 1
        waiting = [entry async for entry in slow]
    assert data(waiting) == ["1", "2", "3"]
    async with process.feed.subscribe(seen.id) as again:
        assert data(await take(again, 5)) == ["1", "2", "3", "4", "5"]


async def test_another_process_goes_on(start: Start, shared: Settings) -> None:
    """Whatever is published in between, where, and while the client comes back: none is lost, and none comes twice."""
    one, two = await start(shared), await start(shared)
    heard: list[str] = []
    last: str | None = None

    async def speak() -> None:
        for number in range(40):
            await publish((one, two)[number % 2].feed, number)

    async with one.feed.subscribe() as entries:
        speaking = asyncio.create_task(speak())
        for entry in await take(entries, 1):
            heard.append(entry.data)
            last = entry.id
    for turn in range(1, 14):
        async with (two, one)[turn % 2].feed.subscribe(last) as entries:
            for entry in await take(entries, 3):
                heard.append(entry.data)
                last = entry.id
    await speaking
    assert heard == list(map(str, range(40)))


async def test_one_connection_reads_for_all(start: Start, shared: Settings, valkey: Valkey) -> None:
    process = await start(shared)
    async with contextlib.AsyncExitStack() as stack:
        hearing = []
        for _ in range(100):
            hearing.append(asyncio.create_task(take(await stack.enter_async_context(process.feed.subscribe()), 1)))
        await asyncio.sleep(0)
        await publish(process.feed, 1)
        await asyncio.gather(*hearing)
    assert valkey.execute("INFO", "clients")["blocked_clients"] <= 1  # type: ignore[index]
    assert process.metric("feed_subscribers") == 0


@contextlib.asynccontextmanager
async def one_hears(process: Process, count: int, until: Until) -> AsyncIterator[asyncio.Task[list[Entry]]]:
    """A subscriber that waits for so many events, of a process that reads them."""
    async with process.feed.subscribe() as entries:
        hearing = asyncio.create_task(take(entries, count))
        await until(lambda: process.metric("feed_reading") == 1)
        yield hearing


async def test_it_waits_while_valkey_is_away(
    start: Start, shared: Settings, valkey: Valkey, until: Until, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    process = await start(shared)
    async with one_hears(process, 1, until) as hearing:
        valkey.stop()
        await until(lambda: process.metric("feed_reading") == 0)
        assert not await process.feed.publish("lost")
        assert process.metric("feed_events_total", outcome="lost") == 1
        async with process.feed.subscribe("1-1") as others:
            late = asyncio.create_task(take(others, 2))
            valkey.start()
            await until(lambda: process.metric("feed_reading") == 1)
            await publish(process.feed, 1)
            assert data(await hearing) == ["1"]
            assert (await late)[-1].data == "1"
    said = [line["message"] for line in log_lines() if line["log.logger"] == "keel.data.feed"]
    assert said == ["feed waits for valkey", "feed goes on"]


async def test_one_call_that_failed_costs_no_event(start: Start, shared: Settings, valkey: Valkey) -> None:
    """Others leave Valkey alone for a second then. It may be there again at once, and what is not told now is lost."""
    process = await start(shared)
    valkey.pause()
    assert not await process.feed.publish("lost")
    valkey.resume()
    assert await process.feed.publish("told")
    assert process.metric("feed_events_total", outcome="lost") == 1


async def test_an_event_is_tried_again_and_told_once(
    start: Start, shared: Settings, valkey: Valkey, until: Until
) -> None:
    """Valkey may have got the first attempt, and executes it when it is back."""
    process = await start(shared)
    async with one_hears(process, 2, until) as hearing:
        valkey.pause()
        telling = asyncio.create_task(process.feed.publish("one", "note", seconds=20))
        late = {"operation": "feed_add", "outcome": "timeout"}
        await until(lambda: (process.registry.get_sample_value("valkey_calls_total", late) or 0) >= 2)
        valkey.resume()
        assert await telling
        assert await process.feed.publish("two")
        assert [(entry.data, entry.event) for entry in await hearing] == [("one", "note"), ("two", None)]
    assert process.metric("feed_events_total", outcome="lost") == 0
    assert process.metric("feed_events_total", outcome="published") == 2


async def test_valkey_may_come_after_the_start(start: Start, shared: Settings, valkey: Valkey, until: Until) -> None:
    valkey.stop()
    process = await start(shared)
    async with process.feed.subscribe() as entries:
        hearing = asyncio.create_task(take(entries, 1))
        await until(lambda: process.metric("feed_reading") == 0)
        valkey.start()
        await until(lambda: process.metric("feed_reading") == 1)
        await publish(process.feed, 1)
        assert data(await hearing) == ["1"]
