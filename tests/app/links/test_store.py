import asyncio
import itertools
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Executable, delete, event, insert, select, text
from sqlalchemy.exc import IntegrityError

from app.links import store as store_module
from app.links.models import LINKS, Link
from app.links.store import LinkStore, SlugTakenError
from app.links.targets import Target
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database, Values
from keel.http.cursors import Position

pytestmark = pytest.mark.anyio

URL = "https://example.com/"
OTHER = "https://example.org/"


async def test_a_link_leads_where_it_was_made_to(store: LinkStore) -> None:
    link = await store.create(URL, "alice", "home-page")
    assert (link.slug, link.url, link.owner, link.expires_at, link.version) == ("home-page", URL, "alice", None, 1)
    assert await store.target("home-page") == Target(URL)


async def test_what_is_read_is_what_was_made(store: LinkStore) -> None:
    tokyo = timezone(timedelta(hours=9))
    made = await store.create(URL, "alice", "page", datetime(2036, 1, 1, 3, 30, 0, 123456, tzinfo=tokyo))
    read = await store.read("page")
    assert read is not None
    for column in ("slug", "url", "owner", "created_at", "expires_at", "updated_at", "version"):
        assert getattr(read, column) == getattr(made, column)
    assert read.created_at.utcoffset() == timedelta(0)
    assert read.expires_at == datetime(2035, 12, 31, 18, 30, 0, 123456, tzinfo=UTC)


async def test_times_are_read_in_utc_whatever_the_sessions_time_zone(store: LinkStore) -> None:
    link = await store.create(URL, "alice", "page")
    async with store.database.transaction() as connection:
        if store.database.engine.dialect.name == "postgresql":
            await connection.execute(text("SET TIME ZONE 'Asia/Kathmandu'"))
        read = Link(*(await connection.execute(select(LINKS))).one())
    assert read.created_at == link.created_at
    assert read.created_at.tzinfo is UTC


async def test_an_expiry_becomes_part_of_the_target(store: LinkStore) -> None:
    expires_at = datetime(2036, 1, 1, tzinfo=UTC)
    await store.create(URL, "alice", "page", expires_at)
    assert await store.target("page") == Target(URL, expires_at.timestamp())


async def test_an_unknown_slug_leads_nowhere(store: LinkStore) -> None:
    assert await store.target("nowhere") is None
    assert await store.read("nowhere") is None
    assert await store.clicks("nowhere") == 0


async def test_slugs_differ_by_case(store: LinkStore) -> None:
    await store.create(URL, "alice", "Case")
    assert await store.target("case") is None


async def test_a_slug_is_taken_once(store: LinkStore) -> None:
    await store.create(URL, "alice", "taken")
    with pytest.raises(SlugTakenError):
        await store.create(OTHER, "bob", "taken")
    assert await store.target("taken") == Target(URL)


async def test_of_many_at_once_one_gets_the_slug(store: LinkStore) -> None:
    results = await asyncio.gather(
        *(store.create(f"{URL}{n}", "alice", "wanted") for n in range(10)), return_exceptions=True
    )
    (made,) = [result for result in results if isinstance(result, Link)]
    assert sum(isinstance(result, SlugTakenError) for result in results) == 9
    assert await store.target("wanted") == Target(made.url)


async def test_a_random_slug_that_is_taken_is_replaced(store: LinkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = itertools.chain(["same", "same", "other"])
    monkeypatch.setattr(store_module, "random_slug", lambda: next(dice))
    assert [(await store.create(URL, "alice")).slug for _ in range(2)] == ["same", "other"]


async def test_gives_up_when_no_slug_is_free(store: LinkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "random_slug", lambda: "same")
    await store.create(URL, "alice")
    with pytest.raises(RuntimeError, match="no free slug in 5 attempts"):
        await store.create(URL, "alice")


async def test_other_broken_constraints_are_not_taken_for_it(store: LinkStore) -> None:
    with pytest.raises(IntegrityError):
        await store.create(None, "alice", "no-url")  # type: ignore[arg-type]


async def test_what_is_done_along_with_a_link_is_done_with_it_or_not_at_all(store: LinkStore) -> None:
    async def also(connection: AsyncConnection, link: Link) -> None:
        await connection.execute(insert(LINKS), asdict(Link(f"{link.slug}-too", URL, "alice", link.created_at)))

    async def fail(connection: AsyncConnection, link: Link) -> None:
        await also(connection, link)
        raise LookupError

    await store.create(URL, "alice", "one", also=also)
    assert await store.read("one-too")
    with pytest.raises(SlugTakenError):
        await store.create(URL, "alice", "one-too", also=also)
    assert await store.read("one-too-too") is None
    with pytest.raises(LookupError):
        await store.create(URL, "alice", "two", also=fail)
    assert await store.read("two") is None
    assert await store.read("two-too") is None


class TestCache:
    async def test_a_link_is_found_as_soon_as_it_was_made_here(self, cached: LinkStore) -> None:
        assert await cached.target("soon") is None
        await cached.create(URL, "alice", "soon")
        assert await cached.target("soon") == Target(URL)

    async def test_a_cached_target_needs_no_database(self, cached: LinkStore) -> None:
        await cached.create(URL, "alice", "kept")
        assert await cached.target("kept") == Target(URL)
        async with cached.database.transaction() as connection:
            await connection.execute(delete(LINKS))
            await connection.commit()
        assert await cached.target("kept") == Target(URL)

    async def test_changes_are_seen_at_once_where_they_were_made(self, cached: LinkStore) -> None:
        link = await cached.create(URL, "alice", "page")
        await cached.target("page")
        changed = await cached.update(link, {"url": OTHER})
        assert changed
        assert await cached.target("page") == Target(OTHER)
        await cached.delete(changed)
        assert await cached.target("page") is None

    async def test_a_commit_that_may_have_happened_is_not_taken_for_one_that_has_not(
        self, cached: LinkStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is answered to the commit is lost: the database has changed, and memory must not say otherwise."""
        link = await cached.create(URL, "alice", "page")
        await cached.target("page")
        real = cached.database.write

        async def write(statement: Executable, values: Values) -> None:
            await real(statement, values)
            raise ConnectionResetError

        monkeypatch.setattr(cached.database, "write", write)
        with pytest.raises(ConnectionResetError):
            await cached.update(link, {"url": OTHER})
        assert await cached.target("page") == Target(OTHER)

    async def test_a_redirect_that_is_not_cached_costs_one_statement(self, cached: LinkStore) -> None:
        await cached.create(URL, "alice", "page")
        statements: list[str] = []
        event.listen(
            cached.database.engine.sync_engine,
            "before_cursor_execute",
            lambda *arguments: statements.append(arguments[2]),
        )
        await cached.target("page")
        await cached.target("page")
        assert len(statements) == 1


class TestPage:
    @pytest.fixture(autouse=True)
    async def ten(self, store: LinkStore) -> None:
        """p0 to p9, some of them made at the same moment, and one of somebody else's."""
        start = datetime(2026, 1, 1, tzinfo=UTC)
        async with store.database.transaction() as connection:
            for n in range(10):
                made = start + timedelta(microseconds=n // 3)
                await connection.execute(insert(LINKS), asdict(Link(f"p{n}-", URL, "alice", made)))
            await connection.execute(insert(LINKS), asdict(Link("bobs", URL, "bob", start)))
            await connection.commit()

    async def slugs(self, store: LinkStore, limit: int, after: Link | None = None) -> list[str]:
        position = Position(after.created_at, after.slug) if after else None
        return [link.slug[:2] for link, _ in await store.page("alice", limit, position)]

    async def test_newest_first(self, store: LinkStore) -> None:
        assert await self.slugs(store, 20) == ["p9", "p8", "p7", "p6", "p5", "p4", "p3", "p2", "p1", "p0"]

    async def test_pages_join_seamlessly(self, store: LinkStore) -> None:
        for size in range(1, 11):
            seen: list[str] = []
            after: Position | None = None
            while page := await store.page("alice", size, after):
                seen += [link.slug for link, _ in page]
                after = Position(page[-1][0].created_at, page[-1][0].slug)
            assert seen == [f"p{n}-" for n in range(9, -1, -1)]

    async def test_links_made_and_deleted_meanwhile_move_nothing(self, store: LinkStore) -> None:
        first = [link for link, _ in await store.page("alice", 4)]
        await store.create(URL, "alice", "newer")
        await store.delete(first[-1])
        assert await self.slugs(store, 3, after=first[-1]) == ["p5", "p4", "p3"]

    async def test_counts_clicks(self, store: LinkStore) -> None:
        async with store.database.transaction() as connection:
            await connection.execute(text("INSERT INTO link_clicks VALUES ('p9-', 5000000000)"))
            await connection.commit()
        assert [clicks for _, clicks in await store.page("alice", 2)] == [5_000_000_000, 0]
        assert await store.clicks("p9-") == 5_000_000_000

    async def test_is_read_from_the_index(self, store: LinkStore) -> None:
        """However many links there are, a page costs the same."""
        postgresql = store.database.engine.dialect.name == "postgresql"
        statements: list[tuple[str, object]] = []
        event.listen(
            store.database.engine.sync_engine,
            "before_cursor_execute",
            lambda *arguments: statements.append(arguments[2:4]),
        )
        link = await store.read("p5-")
        assert link
        await self.slugs(store, 3, after=link)
        statement, parameters = statements[-1]
        async with store.database.transaction() as connection:
            if postgresql:
                await connection.execute(text("SET enable_seqscan = off"))  # it is small; does the index serve at all?
                await connection.execute(text("SET enable_sort = off"))
            explain = "EXPLAIN" if postgresql else "EXPLAIN QUERY PLAN"
            plan = str((await connection.exec_driver_sql(f"{explain} {statement}", parameters)).all())  # type: ignore[arg-type]
        assert "ix_links_owner_created_at_slug" in plan
        assert ("AND (ROW(created_at, (slug)::text) < ROW(" if postgresql else "(created_at,slug)<") in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


class TestChanges:
    async def test_count_versions(self, store: LinkStore) -> None:
        link = await store.create(URL, "alice", "page")
        changed = await store.update(link, {"url": OTHER, "expires_at": datetime(2036, 1, 1, tzinfo=UTC)})
        assert changed
        assert (changed.url, changed.version) == (OTHER, 2)
        assert changed.updated_at is not None
        assert changed.updated_at >= link.created_at == changed.created_at
        assert changed.expires_at == datetime(2036, 1, 1, tzinfo=UTC)
        again = await store.update(changed, {"expires_at": None})
        assert again
        assert (again.url, again.expires_at, again.version) == (OTHER, None, 3)

    async def test_are_not_made_to_what_is_no_longer_as_it_was_read(self, store: LinkStore) -> None:
        link = await store.create(URL, "alice", "page")
        changed = await store.update(link, {"url": OTHER})
        assert changed
        assert await store.update(link, {"url": URL}) is None
        assert not await store.delete(link)
        assert await store.target("page") == Target(OTHER)
        assert await store.delete(changed)
        assert not await store.delete(changed)

    async def test_nor_to_another_link_of_the_same_slug_and_version(self, store: LinkStore) -> None:
        link = await store.create(URL, "alice", "page")
        await store.delete(link)
        await store.create(OTHER, "alice", "page")
        assert await store.update(link, {"url": URL}) is None
        assert not await store.delete(link)
        assert await store.target("page") == Target(OTHER)

    async def test_of_many_at_once_one_is_made(self, store: LinkStore) -> None:
        link = await store.create(URL, "alice", "page")
        results = await asyncio.gather(*(store.update(link, {"url": f"{URL}{n}"}) for n in range(10)))
        (changed,) = [result for result in results if result]
        read = await store.read("page")
        assert read
        assert (read.url, read.version) == (changed.url, 2)

    async def test_clicks_go_with_their_link(self, store: LinkStore, database: Database) -> None:
        link = await store.create(URL, "alice", "page")
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO link_clicks VALUES ('page', 1)"))
            await connection.commit()
        await store.delete(link)
        assert await store.clicks("page") == 0
