import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError

from app.links import clicks as clicks_module
from app.links.clicks import ClickCounter
from app.links.models import CLICKS
from app.links.store import LinkStore
from keel.data.database import Database, DatabaseUnavailableError

pytestmark = pytest.mark.anyio

URL = "https://example.com/"
BROKEN = (ProgrammingError, DatabaseUnavailableError)  # SQLite does not tell the two apart
Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture
def counter(database: Database, registry: CollectorRegistry) -> ClickCounter:
    return ClickCounter(database, registry, seconds=3600)


@pytest.fixture
async def links(store: LinkStore) -> None:
    for slug in ("one", "two", "three"):
        await store.create(URL, "alice", slug)


async def written(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        rows = await connection.execute(select(CLICKS))
        return {row.slug: row.clicks for row in rows}


async def break_table(database: Database, broken: bool = True) -> None:
    """A failure that is not the database's absence, and can be undone."""
    names = ("link_clicks", "gone") if broken else ("gone", "link_clicks")
    async with database.transaction() as connection:
        await connection.execute(text("ALTER TABLE {} RENAME TO {}".format(*names)))
        await connection.commit()


@pytest.mark.usefixtures("links")
async def test_clicks_add_up(counter: ClickCounter, database: Database, registry: CollectorRegistry) -> None:
    for slug in ("two", "one", "two"):
        counter.count(slug)
    assert registry.get_sample_value("link_clicks_waiting") == 3
    await counter.flush()
    assert await written(database) == {"one": 1, "two": 2}
    for slug in ("two", "three"):
        counter.count(slug)
    await counter.flush()
    assert await written(database) == {"one": 1, "two": 3, "three": 1}
    assert registry.get_sample_value("link_clicks_waiting") == 0
    assert registry.get_sample_value("link_clicks_flushed_total") == 5


async def test_with_nothing_to_write_the_database_is_left_alone(counter: ClickCounter, database: Database) -> None:
    await break_table(database)
    await counter.flush()


@pytest.mark.usefixtures("links")
async def test_links_that_are_gone_are_skipped(counter: ClickCounter, database: Database, store: LinkStore) -> None:
    for slug in ("one", "two", "never"):
        counter.count(slug)
    link = await store.read("one")
    assert link
    await store.delete(link)
    await counter.flush()
    assert await written(database) == {"two": 1}
    assert counter.waiting == 0


@pytest.mark.usefixtures("links")
async def test_a_batch_that_fails_is_added_to_the_next(
    counter: ClickCounter, database: Database, registry: CollectorRegistry
) -> None:
    counter.count("one")
    await break_table(database)
    with pytest.raises(BROKEN):
        await counter.flush()
    assert counter.waiting == 1
    assert registry.get_sample_value("link_click_flush_failures_total") == 1
    await break_table(database, broken=False)
    counter.count("one")
    counter.count("two")
    await counter.flush()
    assert await written(database) == {"one": 2, "two": 1}


@pytest.mark.usefixtures("links")
async def test_clicks_during_a_flush_that_fails_are_not_lost(counter: ClickCounter, database: Database) -> None:
    counter.count("one")
    await break_table(database)
    flush = asyncio.create_task(counter.flush())
    await asyncio.sleep(0)
    assert counter.waiting == 1
    counter.count("one")
    counter.count("two")
    with pytest.raises(BROKEN):
        await flush
    await break_table(database, broken=False)
    await counter.flush()
    assert await written(database) == {"one": 2, "two": 1}


@pytest.mark.usefixtures("links")
async def test_a_flush_that_is_cancelled_loses_nothing(counter: ClickCounter) -> None:
    counter.count("one")
    flush = asyncio.create_task(counter.flush())
    await asyncio.sleep(0)
    flush.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flush
    assert counter.waiting == 1


@pytest.mark.usefixtures("links")
async def test_large_batches_are_written_in_parts(
    counter: ClickCounter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clicks_module, "BATCH", 2)
    for slug in ("one", "two", "three"):
        counter.count(slug, 5)
    await counter.flush()
    assert await written(database) == {"one": 5, "two": 5, "three": 5}


@pytest.mark.usefixtures("links")
async def test_what_does_not_fit_is_dropped_and_said(
    counter: ClickCounter, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clicks_module, "MAX_SLUGS", 2)
    for slug in ("one", "two", "three", "one", "three"):
        counter.count(slug)
    assert counter.waiting == 3
    assert registry.get_sample_value("link_clicks_dropped_total") == 2


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("either", ["postgresql"], indirect=True)  # SQLite lets one write at a time
async def test_locks_in_the_order_that_everyone_does(counter: ClickCounter, database: Database) -> None:
    """Waiting for the first link, it must not hold the others, for which who has the first may wait in turn."""
    for slug in ("two", "three", "one"):
        counter.count(slug)
    await counter.flush()
    for slug in ("two", "three", "one"):
        counter.count(slug)
    update = "UPDATE link_clicks SET clicks = clicks + 10 WHERE slug = "
    async with database.transaction() as connection:
        await connection.execute(text(f"{update} 'one'"))
        flush = asyncio.create_task(counter.flush())
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        async with asyncio.timeout(4), database.reading() as watching:
            while not await watching.scalar(waiting):  # noqa: ASYNC110 - the database sets no event
                await asyncio.sleep(0.01)
        await connection.execute(text(f"{update} 'three'"))
        await connection.execute(text(f"{update} 'two'"))
        await connection.commit()
    await flush
    assert await written(database) == {"one": 12, "two": 12, "three": 12}


@pytest.mark.usefixtures("links")
async def test_processes_that_write_the_same_links_at_once_lose_nothing(database: Database) -> None:
    counters = [ClickCounter(database, CollectorRegistry(), 3600) for _ in range(4)]
    for _ in range(20):
        for number, counter in enumerate(counters):
            for slug in ("one", "two", "three") if number % 2 else ("three", "two", "one"):
                counter.count(slug)
        await asyncio.gather(*(counter.flush() for counter in counters))
    assert await written(database) == {"one": 80, "two": 80, "three": 80}


@pytest.mark.usefixtures("links")
async def test_writes_in_the_background_and_the_rest_at_the_end(
    database: Database, registry: CollectorRegistry, until: Until
) -> None:
    counter = ClickCounter(database, registry, seconds=0.01)
    async with counter.counting():
        counter.count("one")
        await until(lambda: counter.waiting == 0)
        assert await written(database) == {"one": 1}
        counter.count("one")
        counter.count("two")
    assert await written(database) == {"one": 2, "two": 1}


async def test_what_cannot_be_written_at_the_end_is_said(
    counter: ClickCounter, database: Database, log_lines: Logs
) -> None:
    async with counter.counting():
        counter.count("one")
        counter.count("two", 41)
        await break_table(database)
    (line,) = [line for line in log_lines() if line["message"] == "clicks lost"]
    assert "42" in json.dumps(line)


@pytest.mark.usefixtures("links")
async def test_is_exact_however_much_happens_at_once(database: Database, store: LinkStore) -> None:
    counter = ClickCounter(database, CollectorRegistry(), seconds=0.001)
    counted: Counter[str] = Counter()

    async def visitor(number: int) -> None:
        for n in range(300):
            slug = ("one", "two", "three")[(n * number) % 3]
            counter.count(slug)
            counted[slug] += 1
            if n % 10 == 0:
                await asyncio.sleep(0.001)

    async with counter.counting():
        await asyncio.gather(*map(visitor, range(10)))
    assert await written(database) == dict(counted)
    assert counted.total() == 3000
    assert await store.clicks("one") == counted["one"]
