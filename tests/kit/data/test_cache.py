"""Two caches, as in two processes, before one Valkey and one "database"."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from keel.data.cache import Cache
from keel.data.cache_metrics import CacheMetrics
from keel.data.database import DatabaseUnavailableError
from keel.data.shared_cache import CHANGED, SharedCache
from keel.data.valkey import Valkey
from keel.settings import Settings
from tests.support.clock import Clock
from tests.support.servers import Valkey as Server

pytestmark = pytest.mark.anyio
TIMEOUT_SECONDS = Settings.model_fields["valkey_timeout_seconds"].default

Until = Callable[[Callable[[], object]], Awaitable[None]]


class Database:
    """Reads take effect at once and are answered when they are let, with an error while it is away."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.away = False

    async def read(self, key: str) -> str | None:
        self.asked.append(key)
        value = self.rows.get(key)
        await self.may_answer.wait()
        if self.away:
            raise DatabaseUnavailableError
        return value


class Process:
    """Memory for 5 seconds, Valkey for 60, and both for `stale` seconds more, while the database is away."""

    def __init__(
        self, database: Database, clock: Clock, valkey: Valkey | None, seconds: float = 5, stale: float = 0
    ) -> None:
        self.registry = CollectorRegistry()
        self.database = database
        shared = None
        if valkey:
            shared = SharedCache(
                valkey, "things:1", str.encode, bytes.decode, 60, 1, clock, stale_seconds=stale, time_of_day=clock
            )
        self.cache: Cache[str] = Cache(
            "things",
            CacheMetrics(self.registry),
            shared,
            seconds=seconds,
            stale_seconds=stale,
            as_stale=lambda value: f"stale {value.removeprefix('stale ')}",
            max_entries=2,
            clock=clock,
        )

    async def get(self, key: str = "a") -> str | None:
        return await self.cache.get(key, self.database.read)

    def count(self, what: str, result: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"cache_{what}_total", {"cache": "things", "result": result} | labels)

    def requests(self, layer: str, result: str) -> float | None:
        return self.count("requests", result, layer=layer)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def one(database: Database, clock: Clock, shared: Valkey) -> Process:
    return Process(database, clock, shared)


@pytest.fixture
def other(database: Database, clock: Clock, shared: Valkey) -> Process:
    return Process(database, clock, shared)


@pytest.fixture
def alone(database: Database, clock: Clock) -> Process:
    return Process(database, clock, None)


async def test_the_second_question_is_answered_from_memory(one: Process, database: Database) -> None:
    database.rows["a"] = "A"
    assert [await one.get() for _ in range(3)] == ["A"] * 3
    assert database.asked == ["a"]
    assert one.requests("local", "hit") == 2
    assert one.requests("local", "miss") == one.requests("shared", "miss") == one.requests("database", "hit") == 1
    assert one.count("fills", "stored") == 1
    assert one.registry.get_sample_value("cache_entries", {"cache": "things"}) == 1


async def test_another_process_finds_it_in_valkey(one: Process, other: Process, database: Database) -> None:
    database.rows["a"] = "A"
    await one.get()
    assert await other.get() == "A"
    assert database.asked == ["a"]
    assert other.requests("shared", "hit") == 1


async def test_that_there_is_none_is_found_in_both_layers(one: Process, other: Process, database: Database) -> None:
    assert [await one.get(), await one.get(), await other.get()] == [None] * 3
    assert database.asked == ["a"]
    assert one.requests("database", "miss") == 1


async def test_without_valkey_there_is_memory(alone: Process, database: Database) -> None:
    database.rows["a"] = "A"
    assert [await alone.get() for _ in range(2)] == ["A"] * 2
    database.rows["a"] = "B"
    await alone.cache.changed("a")
    assert await alone.get() == "B"
    assert alone.count("changes", "notified") == alone.count("changes", "failed") == 0


async def test_without_memory_there_is_valkey(database: Database, clock: Clock, shared: Valkey) -> None:
    process = Process(database, clock, shared, seconds=0)
    database.rows["a"] = "A"
    assert [await process.get() for _ in range(2)] == ["A"] * 2
    assert database.asked == ["a"]
    assert process.requests("shared", "hit") == 1


async def test_memory_is_bounded(alone: Process) -> None:
    for key in "abc":
        await alone.get(key)
    assert alone.registry.get_sample_value("cache_entries", {"cache": "things"}) == 2


async def test_a_change_is_seen_at_once_here_and_within_its_time_elsewhere(
    one: Process, other: Process, database: Database, clock: Clock
) -> None:
    database.rows["a"] = "old"
    await one.get()
    await other.get()
    database.rows["a"] = "new"
    await one.cache.changed("a")
    assert one.count("changes", "notified") == 1
    assert await one.get() == "new"
    clock.now += 4.9
    assert await other.get() == "old"
    clock.now += 0.1
    assert await other.get() == "new"
    assert other.requests("shared", "changed") == 1
    assert other.count("fills", "refused") == 0  # for it does not try


async def test_what_comes_to_be_is_found_within_a_second(
    one: Process, other: Process, database: Database, clock: Clock
) -> None:
    assert await one.get() is None
    assert await other.get() is None
    database.rows["a"] = "new"
    await one.cache.changed("a")
    assert await one.get() == "new"
    clock.now += 1.0
    assert await other.get() == "new"


async def test_a_reader_that_the_change_overtook_keeps_the_old_nowhere(
    one: Process, other: Process, database: Database, clock: Clock, until: Until
) -> None:
    database.rows["a"] = "old"
    database.may_answer.clear()
    overtaken = asyncio.create_task(other.get())
    await until(lambda: database.asked)
    database.rows["a"] = "new"
    await one.cache.changed("a")
    clock.now += 4.9
    database.may_answer.set()
    assert await overtaken == "old"
    assert other.count("fills", "refused") == 1
    assert await one.get() == "new"
    clock.now += 0.1  # five seconds after the question, not after its answer
    assert await other.get() == "new"


async def test_many_who_wait_ask_once(one: Process, database: Database) -> None:
    database.rows["a"] = "A"
    assert await asyncio.gather(*(one.get() for _ in range(100))) == ["A"] * 100
    assert database.asked == ["a"]
    assert (one.requests("local", "miss"), one.requests("local", "wait")) == (1, 99)
    assert one.requests("shared", "miss") == 1


async def test_a_fault_of_the_database_is_everybody_s_and_not_kept(alone: Process, database: Database) -> None:
    async def fail(_: str) -> str:
        raise LookupError

    results = await asyncio.gather(*(alone.cache.get("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [LookupError] * 3
    assert alone.requests("database", "error") == 1
    database.rows["a"] = "A"
    assert await alone.get() == "A"


async def test_without_an_answer_from_valkey_the_database_is_asked(
    one: Process, database: Database, valkey: Server
) -> None:
    database.rows["a"] = "A"
    valkey.stop()
    assert await one.get() == "A"
    assert one.requests("shared", "unavailable") == 1
    assert one.requests("database", "hit") == 1


async def test_a_change_that_valkey_was_not_told_is_counted_and_seen_when_valkey_forgets(
    one: Process, other: Process, database: Database, clock: Clock, valkey: Server
) -> None:
    database.rows["a"] = "old"
    await other.get()
    valkey.pause()
    database.rows["a"] = "new"
    await one.cache.changed("a")
    assert one.count("changes", "failed") == 1
    assert await one.get() == "new"
    valkey.stop()
    valkey.start()  # empty, as after 60 seconds
    clock.now += 5
    assert await other.get() == "new"


async def test_nobody_waits_for_a_change_to_be_told_while_valkey_does_not_answer(
    one: Process, other: Process, database: Database, shared: Valkey, valkey: Server, until: Until
) -> None:
    """Each write took as long as the time-out; connections to a Service without pods are seldom refused."""
    database.rows["a"] = "old"
    await other.get()
    valkey.pause()
    await one.get()
    assert shared.is_away
    database.rows["a"] = "new"
    began = time.perf_counter()
    await one.cache.changed("a")
    assert time.perf_counter() - began < TIMEOUT_SECONDS / 2
    assert await one.get() == "new"
    valkey.resume()
    await until(lambda: one.count("changes", "notified") == 1)
    assert valkey.execute("GET", "things:1:a") == CHANGED.decode()


async def test_something_else_in_valkey_is_passed_over(one: Process, database: Database, valkey: Server) -> None:
    database.rows["a"] = "A"
    valkey.execute("SET", "things:1:a", "?")
    assert await one.get() == "A"
    assert one.requests("shared", "corrupt") == 1


async def test_whoever_made_a_change_and_hangs_up_still_sees_it(
    one: Process, database: Database, valkey: Server
) -> None:
    database.rows["a"] = "old"
    await one.get()
    database.rows["a"] = "new"
    valkey.pause()
    telling = asyncio.create_task(one.cache.changed("a"))
    await asyncio.sleep(0)  # it has begun
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert await one.get() == "new"


class TestWithoutADatabase:
    """Kept for a hundred seconds more than the caches' time."""

    @pytest.fixture
    def one(self, database: Database, clock: Clock, shared: Valkey) -> Process:
        database.rows["a"] = "A"
        return Process(database, clock, shared, stale=100)

    @pytest.fixture
    def other(self, database: Database, clock: Clock, shared: Valkey) -> Process:
        return Process(database, clock, shared, stale=100)

    @pytest.fixture
    def alone(self, database: Database, clock: Clock) -> Process:
        database.rows["a"] = "A"
        return Process(database, clock, None, stale=100)

    async def test_memory_has_a_stale_answer_until_its_time_is_over(
        self, alone: Process, database: Database, clock: Clock
    ) -> None:
        begun = clock.now
        await alone.get()
        database.away = True
        clock.now = begun + 104.9
        assert await alone.get() == "stale A"
        clock.now = begun + 105
        with pytest.raises(DatabaseUnavailableError):
            await alone.get()

    async def test_valkey_has_one_too_until_its_time_is_over(
        self, one: Process, other: Process, database: Database, clock: Clock
    ) -> None:
        begun = clock.now
        await one.get()
        database.away = True
        clock.now = begun + 159.9
        assert await other.get() == "stale A"
        assert other.requests("shared", "stale") == 1
        clock.now = begun + 160
        with pytest.raises(DatabaseUnavailableError):
            await other.get()

    async def test_the_database_is_preferred_while_it_is_there(
        self, one: Process, other: Process, database: Database, clock: Clock
    ) -> None:
        await one.get()
        clock.now += 60
        database.rows["a"] = "B"
        assert await other.get() == "B"
        assert other.count("fills", "stored") == 1
        assert await one.get() == "B"
        assert one.requests("shared", "hit") == 1

    async def test_other_errors_are_not_covered_up(self, alone: Process, clock: Clock) -> None:
        async def fail(_: str) -> str:
            raise LookupError

        await alone.get()
        clock.now += 5
        with pytest.raises(LookupError):
            await alone.cache.get("a", fail)

    async def test_zero_seconds_turn_it_off(self, database: Database, clock: Clock, shared: Valkey) -> None:
        database.rows["a"] = "A"
        process = Process(database, clock, shared, stale=0)
        await process.get()
        database.away = True
        clock.now += 60
        with pytest.raises(DatabaseUnavailableError):
            await process.get()

    async def test_without_memory_valkey_has_it(self, database: Database, clock: Clock, shared: Valkey) -> None:
        database.rows["a"] = "A"
        process = Process(database, clock, shared, seconds=0, stale=100)
        await process.get()
        assert process.registry.get_sample_value("cache_entries", {"cache": "things"}) == 0
        database.away = True
        clock.now += 60
        assert await process.get() == "stale A"

    async def test_there_is_none_is_never_stale(self, alone: Process, database: Database, clock: Clock) -> None:
        assert await alone.get("none") is None
        database.away = True
        clock.now += 1
        with pytest.raises(DatabaseUnavailableError):
            await alone.get("none")

    async def test_what_another_process_has_changed_is_not_given_from_memory(
        self, one: Process, other: Process, database: Database, clock: Clock, valkey: Server
    ) -> None:
        await other.get()
        del database.rows["a"]
        await one.cache.changed("a")
        database.away = True
        clock.now += 5
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await other.get()
            valkey.execute("DEL", "things:1:a")  # as when the mark's time is over

    async def test_nor_is_what_this_one_has_changed(self, alone: Process, database: Database) -> None:
        await alone.get()
        await alone.cache.changed("a")
        database.away = True
        with pytest.raises(DatabaseUnavailableError):
            await alone.get()

    async def test_without_valkey_too_memory_has_it(
        self, one: Process, database: Database, clock: Clock, valkey: Server
    ) -> None:
        await one.get()
        valkey.stop()
        database.away = True
        clock.now += 60
        assert await one.get() == "stale A"

    async def test_nobody_waits_for_a_database_that_is_known_to_be_silent(
        self, one: Process, database: Database, clock: Clock, until: Until
    ) -> None:
        await one.get()
        database.away = True
        clock.now += 60
        assert await one.get() == "stale A"
        database.may_answer.clear()
        database.asked.clear()
        async with asyncio.timeout(10):
            assert [await one.get() for _ in range(3)] == ["stale A"] * 3  # from memory, for a second
            assert database.asked == []
            clock.now += 1
            assert [await one.get() for _ in range(3)] == ["stale A"] * 3
            await until(lambda: database.asked)
            clock.now += 1
            assert await one.get() == "stale A"
        await until(lambda: len(database.asked) == 2)  # once a second, however long it takes
        assert one.requests("shared", "stale") == 3
        database.may_answer.set()

    async def test_its_return_is_noticed_within_two_seconds(
        self, one: Process, database: Database, clock: Clock, until: Until
    ) -> None:
        await one.get()
        database.away = True
        clock.now += 60
        assert await one.get() == "stale A"
        database.away = False
        database.rows["a"] = "B"
        clock.now += 1
        assert await one.get() == "stale A"  # and the database is asked
        await until(lambda: one.count("fills", "stored") == 2)
        clock.now += 1
        assert await one.get() == "B"

    async def test_one_that_failed_long_ago_is_waited_for(self, one: Process, database: Database, clock: Clock) -> None:
        await one.get()
        database.away = True
        clock.now += 60
        assert await one.get() == "stale A"
        database.away = False
        database.rows["a"] = "B"
        clock.now += 10
        assert await one.get() == "B"
