import asyncio

import pytest

from keel.data.shared_cache import FILL_SECONDS, MARK_SECONDS, Found, SharedCache
from keel.data.valkey import Valkey
from tests.support.clock import Clock
from tests.support.servers import Valkey as Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def cache(shared: Valkey, clock: Clock) -> SharedCache[str]:
    return SharedCache(shared, "things:1", str.encode, bytes.decode, seconds=60, missing_seconds=1, clock=clock)


def milliseconds_left(valkey: Server, key: str) -> int:
    left = valkey.execute("PTTL", key)
    assert isinstance(left, int)
    return left


async def test_what_is_stored_is_found(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    assert await cache.find("a") == Found("miss")
    assert await cache.fill("a", "https://example.com/ü", clock.now) == "stored"
    assert await cache.find("a") == Found("hit", "https://example.com/ü")
    assert await cache.find("b") == Found("miss")
    assert 59_000 < milliseconds_left(valkey, "things:1:a") <= 60_000


@pytest.mark.parametrize("value", ["", "-", "!", "="])
async def test_no_value_is_mistaken_for_something_else(cache: SharedCache[str], clock: Clock, value: str) -> None:
    await cache.fill("a", value, clock.now)
    assert await cache.find("a") == Found("hit", value)


async def test_that_there_is_none_is_kept_for_less(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    assert await cache.fill("a", None, clock.now) == "stored"
    assert await cache.find("a") == Found("hit")
    assert 0 < milliseconds_left(valkey, "things:1:a") <= 1_000


async def test_the_time_counts_from_the_question(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    begun = clock.now
    clock.now += 4
    assert await cache.fill("a", "value", begun) == "stored"
    assert 55_000 < milliseconds_left(valkey, "things:1:a") <= 56_000
    assert await cache.fill("b", None, begun) == "late"


async def test_who_read_before_a_change_cannot_store_after_it(
    cache: SharedCache[str], clock: Clock, valkey: Server
) -> None:
    begun = clock.now
    assert await cache.find("a") == Found("miss")
    assert await cache.changed("a")
    assert await cache.fill("a", "old", begun) == "refused"
    assert await cache.find("a") == Found("changed")
    assert milliseconds_left(valkey, "things:1:a") > FILL_SECONDS * 1000  # it outlives every offer


async def test_who_read_too_long_ago_does_not_even_try(cache: SharedCache[str], clock: Clock) -> None:
    begun = clock.now
    clock.now += FILL_SECONDS + 0.1
    assert await cache.fill("a", "old", begun) == "late"
    assert await cache.find("a") == Found("miss")


async def test_a_change_replaces_what_was_stored(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    await cache.fill("a", "old", clock.now)
    assert await cache.changed("a")
    assert await cache.find("a") == Found("changed")
    assert milliseconds_left(valkey, "things:1:a") <= MARK_SECONDS * 1000


async def test_after_the_mark_answers_are_stored_again(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    await cache.changed("a")
    valkey.execute("PEXPIRE", "things:1:a", 1)
    async with asyncio.timeout(5):
        while await cache.find("a") != Found("miss"):
            pass
    assert await cache.fill("a", "new", clock.now) == "stored"


@pytest.mark.parametrize("content", ["", "?", "value", "=value", "=soon value", b"=1 \xff", b"=\xff ", "-x"])
async def test_what_we_did_not_write_is_corrupt(cache: SharedCache[str], valkey: Server, content: str) -> None:
    valkey.execute("SET", "things:1:a", content)
    assert await cache.find("a") == Found("corrupt")


async def test_without_valkey_nothing_is_stored_or_told(cache: SharedCache[str], clock: Clock, valkey: Server) -> None:
    valkey.stop()
    assert await cache.find("a") == Found("unavailable")
    assert await cache.fill("a", "value", clock.now) == "unavailable"
    assert not await cache.changed("a")


async def test_a_change_is_told_even_while_valkey_is_left_alone(
    cache: SharedCache[str], clock: Clock, valkey: Server
) -> None:
    await cache.fill("a", "old", clock.now)
    valkey.pause()
    assert await cache.find("a") == Found("unavailable")
    valkey.resume()
    assert await cache.changed("a")
    assert await cache.find("a") == Found("changed")


class TestStale:
    """Kept for ten seconds after the sixty that an answer is fresh."""

    @pytest.fixture
    def cache(self, shared: Valkey, clock: Clock) -> SharedCache[str]:
        return SharedCache(
            shared, "things:1", str.encode, bytes.decode, 60, 1, clock, stale_seconds=10, time_of_day=clock
        )

    async def test_an_answer_is_fresh_and_then_stale(
        self, cache: SharedCache[str], clock: Clock, valkey: Server
    ) -> None:
        asked = clock.now
        await cache.fill("a", "value", asked)
        assert 69_000 < milliseconds_left(valkey, "things:1:a") <= 70_000
        clock.now += 59.9
        assert await cache.find("a") == Found("hit", "value")
        clock.now += 0.1
        found = await cache.find("a")
        assert (found.result, found.value) == ("stale", "value")
        assert found.ends == pytest.approx(asked + 70)

    async def test_that_there_is_none_is_kept_no_longer(
        self, cache: SharedCache[str], clock: Clock, valkey: Server
    ) -> None:
        await cache.fill("a", None, clock.now)
        assert 0 < milliseconds_left(valkey, "things:1:a") <= 1_000

    async def test_a_newer_answer_takes_its_place(self, cache: SharedCache[str], clock: Clock) -> None:
        await cache.fill("a", "old", clock.now)
        clock.now += 60
        found = await cache.find("a")
        assert await cache.fill("a", "new", clock.now, found.stored) == "stored"
        assert await cache.find("a") == Found("hit", "new")

    async def test_who_read_before_a_change_cannot_store_after_it(self, cache: SharedCache[str], clock: Clock) -> None:
        await cache.fill("a", "old", clock.now)
        clock.now += 60
        found = await cache.find("a")
        assert await cache.changed("a")
        assert await cache.fill("a", "old", clock.now, found.stored) == "refused"
        assert await cache.find("a") == Found("changed")

    async def test_of_two_who_found_it_the_first_stores(self, cache: SharedCache[str], clock: Clock) -> None:
        await cache.fill("a", "old", clock.now)
        clock.now += 60
        found = await cache.find("a")
        assert await cache.fill("a", "new", clock.now, found.stored) == "stored"
        assert await cache.fill("a", "other", clock.now, found.stored) == "refused"
        assert await cache.find("a") == Found("hit", "new")

    async def test_what_ends_meanwhile_is_not_replaced(
        self, cache: SharedCache[str], clock: Clock, valkey: Server
    ) -> None:
        await cache.fill("a", "old", clock.now)
        clock.now += 60
        found = await cache.find("a")
        valkey.execute("DEL", "things:1:a")
        assert await cache.fill("a", "new", clock.now, found.stored) == "refused"
        assert await cache.find("a") == Found("miss")
