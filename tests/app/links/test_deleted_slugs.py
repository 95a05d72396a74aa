"""Slugs of deleted links, which nobody else gets for a time."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, func, insert, select, update

from app.links import store as store_module
from app.links.cleanup import CLEAN_UP
from app.links.deleted_slugs import DeletedSlugs
from app.links.models import DELETED, LINKS
from app.links.store import LinkStore, SlugTakenError
from app.links.targets import Target
from keel.data import migrate, purge
from keel.data.database import Database
from keel.tasks.tables import SCHEDULES
from tests.app.instances import running
from tests.app.subject import Settings

pytestmark = pytest.mark.anyio

URL, OTHER = "https://example.com/", "https://example.org/"
KEPT = timedelta(days=30)

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def count(database: Database) -> int:
    async with database.reading() as connection:
        kept: int = await connection.scalar(select(func.count()).select_from(DELETED))
    return kept


async def age(database: Database, slug: str, by: timedelta) -> None:
    """As if `slug` had been deleted earlier."""
    async with database.transaction() as connection:
        deleted_at = (await connection.execute(select(DELETED.c.deleted_at).where(DELETED.c.slug == slug))).scalar_one()
        await connection.execute(update(DELETED).where(DELETED.c.slug == slug).values(deleted_at=deleted_at - by))
        await connection.commit()


async def test_nobody_but_its_owner_gets_it(store: LinkStore) -> None:
    await store.delete(await store.create(URL, "alice", "page"))
    with pytest.raises(SlugTakenError):
        await store.create(OTHER, "bob", "page")
    assert await store.read("page") is None
    await store.create(OTHER, "alice", "page")
    assert await store.target("page") == Target(OTHER)


async def test_a_random_one_is_not_given_to_others_either(store: LinkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = itertools.chain(["same", "same", "other"])
    monkeypatch.setattr(store_module, "random_slug", lambda: next(dice))
    await store.delete(await store.create(URL, "alice"))
    assert (await store.create(URL, "bob")).slug == "other"


async def test_after_its_time_anybody_may_have_it(store: LinkStore, database: Database) -> None:
    await store.delete(await store.create(URL, "alice", "page"))
    await age(database, "page", KEPT - timedelta(minutes=1))
    with pytest.raises(SlugTakenError):
        await store.create(OTHER, "bob", "page")
    await age(database, "page", timedelta(minutes=1))
    bobs = await store.create(OTHER, "bob", "page")
    await store.delete(bobs)  # and then it is kept for bob
    with pytest.raises(SlugTakenError):
        await store.create(URL, "alice", "page")
    assert await store.create(OTHER, "bob", "page")


async def test_a_deletion_that_is_not_made_keeps_nothing(store: LinkStore, database: Database) -> None:
    link = await store.create(URL, "alice", "page")
    await store.update(link, {"url": OTHER})
    assert not await store.delete(link)
    assert await count(database) == 0


async def test_it_can_be_turned_off(store: LinkStore, database: Database) -> None:
    await store.delete(await store.create(URL, "alice", "before"))
    store.deleted = DeletedSlugs(database, days=0)
    await store.delete(await store.create(URL, "alice", "page"))
    await store.create(OTHER, "bob", "page")
    await store.create(OTHER, "bob", "before")
    assert await store.deleted.purge() == 1
    assert await count(database) == 0


async def test_no_creation_gets_between_a_deletion_and_what_it_keeps(
    store: LinkStore, deleted: DeletedSlugs, database: Database, until: Until
) -> None:
    link = await store.create(URL, "alice", "page")
    inserts: list[str] = []

    def look(*arguments: object) -> None:
        statement = str(arguments[2])
        if statement.startswith("INSERT INTO links "):
            inserts.append(statement)

    async with database.transaction() as connection:
        await connection.execute(delete(LINKS).where(LINKS.c.slug == "page"))
        event.listen(database.engine.sync_engine, "before_cursor_execute", look)
        creating = asyncio.create_task(store.create(OTHER, "bob", "page"))
        await until(lambda: inserts)
        await deleted.keep(connection, link)
        await connection.commit()
    with pytest.raises(SlugTakenError):
        await creating
    assert await store.read("page") is None


async def test_of_many_at_once_nobody_else_gets_it(store: LinkStore) -> None:
    for _ in range(5):
        link = await store.create(URL, "alice", "page")
        bobs = (store.create(f"{OTHER}{n}", "bob", "page") for n in range(6))
        gone, *results = await asyncio.gather(store.delete(link), *bobs, return_exceptions=True)
        assert gone is True
        assert [type(result) for result in results] == [SlugTakenError] * 6


async def test_what_is_past_its_time_is_purged(
    store: LinkStore, deleted: DeletedSlugs, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 2)
    for number in range(7):
        await store.delete(await store.create(URL, "alice", f"page-{number}"))
    assert await deleted.purge() == 0
    for number in range(5):
        await age(database, f"page-{number}", KEPT)
    assert await deleted.purge() == 5
    assert await count(database) == 2


async def test_the_service_purges_each_night(settings: Settings, mint: Callable[..., str]) -> None:
    await migrate.migrate(settings)
    async with running(settings.model_copy(update={"tasks_at_once": 0}), mint()) as (service, _):
        store: LinkStore = service.public.state.links.store
        await store.delete(await store.create(URL, "alice", "page"))
        await age(store.database, "page", KEPT)
        async with store.database.transaction() as connection:
            yesterday = {"name": CLEAN_UP.name, "done_until": time.time() - 86_400}
            await connection.execute(insert(SCHEDULES).values(yesterday))
            await connection.commit()
    async with running(settings, mint()) as (service, _):
        async with asyncio.timeout(30):
            while await count(service.public.state.links.store.database):  # noqa: ASYNC110 - the database sets no event
                await asyncio.sleep(0.01)
