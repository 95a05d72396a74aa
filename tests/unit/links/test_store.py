import itertools

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from app import migrate
from app.database import Database
from app.links import store as store_module
from app.links.models import Link
from app.links.store import LinkStore, SlugTakenError
from app.settings import Settings

pytestmark = pytest.mark.anyio

TARGET = "https://example.com/"


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> LinkStore:
    name = "settings" if request.param == "sqlite" else "postgresql_settings"
    settings: Settings = request.getfixturevalue(name)
    await migrate.migrate(settings)
    return LinkStore(Database(settings))


@pytest.fixture(autouse=True)
async def close(store: LinkStore):  # type: ignore[no-untyped-def]
    yield
    await store.database.close()


async def test_a_link_leads_where_it_was_made_to(store: LinkStore) -> None:
    link = await store.create(TARGET, "alice", "home-page")
    assert (link.slug, link.url, link.owner) == ("home-page", TARGET, "alice")
    assert link.created_at.tzinfo is not None
    assert await store.target("home-page") == TARGET


async def test_an_unknown_slug_leads_nowhere(store: LinkStore) -> None:
    assert await store.target("nowhere") is None


async def test_slugs_differ_by_case(store: LinkStore) -> None:
    await store.create(TARGET, "alice", "Case")
    assert await store.target("case") is None


async def test_a_slug_is_taken_once(store: LinkStore) -> None:
    await store.create(TARGET, "alice", "taken")
    with pytest.raises(SlugTakenError):
        await store.create("https://example.org/", "bob", "taken")
    assert await store.target("taken") == TARGET


async def test_a_random_slug_that_is_taken_is_replaced(store: LinkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = itertools.chain(["same", "same", "other"])
    monkeypatch.setattr(store_module, "random_slug", lambda: next(dice))
    assert [(await store.create(TARGET, "alice")).slug for _ in range(2)] == ["same", "other"]


async def test_gives_up_when_no_slug_is_free(store: LinkStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "random_slug", lambda: "same")
    await store.create(TARGET, "alice")
    with pytest.raises(RuntimeError, match="no free slug in 5 attempts"):
        await store.create(TARGET, "alice")


async def test_other_broken_constraints_are_not_taken_for_it(store: LinkStore) -> None:
    with pytest.raises(IntegrityError):
        await store.create(None, "alice", "no-url")  # type: ignore[arg-type]


async def test_a_link_is_found_as_soon_as_it_was_made_here(store: LinkStore) -> None:
    cached = LinkStore(store.database, cache_seconds=60)
    assert await cached.target("soon") is None
    await cached.create(TARGET, "alice", "soon")
    assert await cached.target("soon") == TARGET


async def test_a_cached_target_needs_no_database(store: LinkStore) -> None:
    cached = LinkStore(store.database, cache_seconds=60)
    await cached.create(TARGET, "alice", "kept")
    assert await cached.target("kept") == TARGET
    async with store.database.session() as session:
        await session.execute(delete(Link))
        await session.commit()
    assert await cached.target("kept") == TARGET
    assert await store.target("kept") is None
