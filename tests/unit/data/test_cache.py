"""Two caches, as in two processes, before one Valkey and one "database"."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from app.data.cache import Cache
from app.data.cache_metrics import CacheMetrics
from app.data.shared_cache import SharedCache
from app.data.valkey import Valkey
from tests.unit.clock import Clock
from tests.unit.servers import Valkey as Server

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]


class Database:
    """Reads take effect at once and are answered when they are let."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def read(self, key: str) -> str | None:
        self.asked.append(key)
        value = self.rows.get(key)
        await self.may_answer.wait()
        return value


class Process:
    def __init__(self, database: Database, clock: Clock, valkey: Valkey | None, seconds: float = 5) -> None:
        self.registry = CollectorRegistry()
        self.database = database
        shared = SharedCache(valkey, "links:1", str.encode, bytes.decode, 60, 1, clock) if valkey else None
        self.cache = Cache("links", CacheMetrics(self.registry), shared, seconds=seconds, max_entries=2, clock=clock)

    async def get(self, key: str = "a") -> str | None:
        return await self.cache.get(key, self.database.read)

    def count(self, what: str, result: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"cache_{what}_total", {"cache": "links", "result": result} | labels)

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
    assert one.registry.get_sample_value("cache_entries", {"cache": "links"}) == 1


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
    assert alone.count("changes", "told") == alone.count("changes", "untold") == 0


async def test_without_memory_there_is_valkey(database: Database, clock: Clock, shared: Valkey) -> None:
    process = Process(database, clock, shared, seconds=0)
    database.rows["a"] = "A"
    assert [await process.get() for _ in range(2)] == ["A"] * 2
    assert database.asked == ["a"]
    assert process.requests("shared", "hit") == 1


async def test_memory_is_bounded(alone: Process) -> None:
    for key in "abc":
        await alone.get(key)
    assert alone.registry.get_sample_value("cache_entries", {"cache": "links"}) == 2


async def test_a_change_is_seen_at_once_here_and_within_its_time_elsewhere(
    one: Process, other: Process, database: Database, clock: Clock
) -> None:
    database.rows["a"] = "old"
    await one.get()
    await other.get()
    database.rows["a"] = "new"
    await one.cache.changed("a")
    assert one.count("changes", "told") == 1
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
    assert one.count("changes", "untold") == 1
    assert await one.get() == "new"
    valkey.stop()
    valkey.start()  # empty, as after 60 seconds
    clock.now += 5
    assert await other.get() == "new"


async def test_something_else_in_valkey_is_passed_over(one: Process, database: Database, valkey: Server) -> None:
    database.rows["a"] = "A"
    valkey.execute("SET", "links:1:a", "?")
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
