"""Slugs of deleted links. For a time nobody else gets one, so that no old short link leads to a stranger's page."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select

from app.links.models import DELETED, Link
from keel.data import purge
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database
from keel.data.periodic import every
from keel.data.upsert import insert

NEVER = datetime.max.replace(tzinfo=UTC)
# Finds `slug` if it is kept for somebody else than `owner`; later than `since`, of which the class below says when.
OF_OTHERS = select(DELETED.c.slug).where(
    DELETED.c.slug == bindparam("slug"),
    DELETED.c.owner != bindparam("owner"),
    DELETED.c.deleted_at > bindparam("since"),
)


class DeletedSlugs:
    """Slugs by the owner of the link that had them, kept for `days`; with 0 days none is kept."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._kept = timedelta(days=days)

    async def keep(self, connection: AsyncConnection, link: Link) -> None:
        """Keep the slug of `link`, in the transaction that deletes it."""
        if not self._kept:
            return
        changing = {"owner": link.owner, "deleted_at": datetime.now(UTC)}
        statement = insert(self._database.dialect, DELETED).values(slug=link.slug, **changing)
        await connection.execute(statement.on_conflict_do_update(index_elements=["slug"], set_=changing))

    def since(self) -> datetime:
        """What was deleted later is kept."""
        return datetime.now(UTC) - self._kept if self._kept else NEVER

    @contextlib.asynccontextmanager
    async def purging(self) -> AsyncIterator[None]:
        """Forget the slugs past their time, now and then, while inside."""
        async with every(purge.EVERY_SECONDS, self.purge):
            yield

    async def purge(self) -> int:
        """Forget the slugs past their time; returns how many."""
        before = datetime.now(UTC) - self._kept
        return await purge.purge(self._database, DELETED, DELETED.c.deleted_at, before=before)
