"""What a release may find, while the one before it is still running."""

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import text

from app.links.store import LinkStore
from app.links.targets import Target
from keel.data import migrate
from keel.data.database import Database
from tests.app.subject import PRODUCT, Settings

pytestmark = pytest.mark.anyio

URL = "https://example.com/"
# As the release of revision 0001 writes and reads.
OLD_INSERT = text("INSERT INTO links (slug, url, owner, created_at) VALUES (:slug, :url, :owner, :created_at)")
OLD_SELECT = text("SELECT url FROM links WHERE slug = :slug")


async def old_insert(database: Database, slug: str) -> None:
    now = datetime.now(UTC)
    created_at = now if database.engine.dialect.name == "postgresql" else now.replace(tzinfo=None).isoformat(" ")
    async with database.transaction() as connection:
        await connection.execute(OLD_INSERT, {"slug": slug, "url": URL, "owner": "alice", "created_at": created_at})
        await connection.commit()


async def test_links_of_the_release_before_are_read_and_changed(database: Database, store: LinkStore) -> None:
    await old_insert(database, "old")
    link = await store.read("old")
    assert link
    assert (link.version, link.expires_at, link.updated_at) == (1, None, None)
    assert await store.target("old") == Target(URL)
    assert [(link.slug, clicks) for link, clicks in await store.page("alice", 10)] == [("old", 0)]
    assert await store.update(link, {"url": "https://example.org/"})
    async with database.reading() as connection:
        assert await connection.scalar(OLD_SELECT, {"slug": "old"}) == "https://example.org/"


async def test_there_and_back_and_there_again_with_links_in_it(
    database: Database, store: LinkStore, either: Settings
) -> None:
    await store.create(URL, "alice", "new", datetime(2036, 1, 1, tzinfo=UTC))
    async with database.engine.connect() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrate.alembic_config(sync, PRODUCT), "0001"))
        await connection.commit()
    await database.engine.dispose()  # whose statements are prepared for the table as it was
    await old_insert(database, "old")
    await migrate.migrate(either)
    assert [link.slug for link, _ in await store.page("alice", 10)] == ["old", "new"]
    new = await store.read("new")
    assert new
    assert new.expires_at is None


async def test_an_index_that_was_left_unfinished_is_built_anew(postgresql_settings: Settings) -> None:
    """Built concurrently, it stays behind and serves nobody when its building fails."""
    await migrate.migrate(postgresql_settings)
    database = Database(postgresql_settings)
    index = "ix_links_owner_created_at_slug"
    valid = text(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{index}'::regclass")  # noqa: S608
    async with database.engine.connect() as connection:
        await connection.run_sync(lambda sync: command.downgrade(migrate.alembic_config(sync, PRODUCT), "0001"))
        await connection.execute(text(f"CREATE INDEX {index} ON links (owner)"))
        await connection.execute(
            text(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")  # noqa: S608
        )
        await connection.commit()
        await migrate.migrate(postgresql_settings)
        assert await connection.scalar(valid) is True
    await database.close()
