import asyncio
from collections.abc import Callable

import pytest

from keel.data.local_cache import LocalCache
from tests.support.clock import Clock

pytestmark = pytest.mark.anyio


class Source:
    """Something slow that counts how often it is asked, and answers when it is let."""

    def __init__(self, answer: Callable[[str], str | None] = str.upper) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, key: str) -> str | None:
        self.asked.append(key)
        await self.may_answer.wait()
        return self.answer(key)


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def cache(clock: Clock) -> LocalCache[str]:
    return LocalCache(seconds=5, missing_seconds=1, max_entries=2, clock=clock)


async def test_an_answer_is_kept_for_its_time(cache: LocalCache[str], clock: Clock) -> None:
    source = Source()
    assert await cache.get("a", source) == "A"
    clock.now = 4.9
    assert await cache.get("a", source) == "A"
    assert source.asked == ["a"]
    clock.now = 5.0
    assert await cache.get("a", source) == "A"
    assert source.asked == ["a", "a"]


async def test_what_has_expired_is_there_for_a_while(clock: Clock) -> None:
    cache: LocalCache[str] = LocalCache(5, 1, 2, clock, stale_seconds=10)
    source = Source(lambda key: key.upper() if key == "a" else None)
    await cache.get("a", source)
    await cache.get("none", source)
    clock.now = 5.0
    assert cache.find("a") is None
    last = cache.last("a")
    assert last
    assert last.value == "A"
    assert cache.last("none") is None
    clock.now = 15.0
    assert cache.last("a") is None


async def test_an_answer_that_took_longer_than_it_is_fresh_is_there_too(clock: Clock) -> None:
    cache: LocalCache[str] = LocalCache(5, 1, 2, clock, stale_seconds=10)

    async def slow(key: str) -> str:
        clock.now += 6
        return key.upper()

    await cache.get("a", slow)
    assert cache.find("a") is None
    assert cache.last("a")


async def test_what_was_forgotten_is_not_even_stale(clock: Clock) -> None:
    cache: LocalCache[str] = LocalCache(5, 1, 2, clock, stale_seconds=10)
    await cache.get("a", Source())
    cache.forget("a")
    assert cache.last("a") is None


async def test_that_there_is_none_is_kept_for_less(cache: LocalCache[str], clock: Clock) -> None:
    source = Source(lambda _: None)
    assert await cache.get("a", source) is None
    clock.now = 0.9
    assert await cache.get("a", source) is None
    assert source.asked == ["a"]
    clock.now = 1.0
    await cache.get("a", source)
    assert source.asked == ["a", "a"]


async def test_zero_seconds_keep_nothing(clock: Clock) -> None:
    cache: LocalCache[str] = LocalCache(0, 0, 10, clock)
    source = Source()
    await cache.get("a", source)
    await cache.get("a", source)
    assert source.asked == ["a", "a"]


async def test_many_who_wait_ask_once(cache: LocalCache[str]) -> None:
    source = Source()
    source.may_answer.clear()
    waiting = [asyncio.create_task(cache.get("a", source)) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await asyncio.gather(*waiting) == ["A"] * 100
    assert source.asked == ["a"]


async def test_one_who_hangs_up_does_not_take_it_from_the_others(cache: LocalCache[str]) -> None:
    source = Source()
    source.may_answer.clear()
    first, second = (asyncio.create_task(cache.get("a", source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await second == "A"


async def test_a_failure_is_everybody_s_and_not_kept(cache: LocalCache[str]) -> None:
    def fail(_: str) -> str:
        raise LookupError("gone")

    broken = Source(fail)
    results = await asyncio.gather(*(cache.get("a", broken) for _ in range(3)), return_exceptions=True)
    assert [type(r) for r in results] == [LookupError] * 3
    assert broken.asked == ["a"]
    assert await cache.get("a", Source()) == "A"


async def test_the_least_recently_used_leaves(cache: LocalCache[str]) -> None:
    source = Source()
    for key in ("a", "b", "a", "c"):
        await cache.get(key, source)
    source.asked.clear()
    await cache.get("a", source)
    assert source.asked == []
    await cache.get("b", source)
    assert source.asked == ["b"]


async def test_forgetting_asks_again(cache: LocalCache[str]) -> None:
    source = Source()
    await cache.get("a", source)
    cache.forget("a")
    await cache.get("a", source)
    assert source.asked == ["a", "a"]


async def test_an_answer_from_before_a_change_is_not_kept(cache: LocalCache[str]) -> None:
    old = Source(lambda _: "old")
    old.may_answer.clear()
    waiting = asyncio.create_task(cache.get("a", old))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cache.forget("a")
    new = Source(lambda _: "new")
    assert await cache.get("a", new) == "new"
    old.may_answer.set()
    assert await waiting == "old"
    assert await cache.get("a", new) == "new"
    assert new.asked == ["a"]
