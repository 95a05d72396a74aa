"""Slugs of deleted links: reserved for their owners for a while, so that no old link leads to a stranger's page."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, select

from app.links.models import DELETED, Link
from keel.data import purge
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database
from keel.data.upsert import insert

NEVER = datetime.max.replace(tzinfo=UTC)
# Finds `slug` if it is reserved for somebody other than `owner`. `since` comes from DeletedSlugs.since().
OF_OTHERS = select(DELETED.c.slug).where(
    DELETED.c.slug == bindparam("slug"),
    DELETED.c.owner != bindparam("owner"),
    DELETED.c.deleted_at > bindparam("since"),
)


class DeletedSlugs:
    """Reserves the slug of a deleted link for the link's owner for `days`; with 0 days it reserves nothing."""

    def __init__(self, database: Database, days: int) -> None:
        self._database = database
        self._kept = timedelta(days=days)

    async def keep(self, connection: AsyncConnection, link: Link) -> None:
        """Reserve the slug of `link` for its owner, in the transaction that deletes the link."""
        if not self._kept:
            return
        changing = {"owner": link.owner, "deleted_at": datetime.now(UTC)}
        statement = insert(self._database.dialect, DELETED).values(slug=link.slug, **changing)
        await connection.execute(statement.on_conflict_do_update(index_elements=["slug"], set_=changing))

    def since(self) -> datetime:
        """The time after which a link must have been deleted for its slug to be reserved still."""
        return datetime.now(UTC) - self._kept if self._kept else NEVER

    async def purge(self) -> int:
        """Delete the reservations that have expired; returns how many."""
        before = datetime.now(UTC) - self._kept
        return await purge.purge(self._database, DELETED, DELETED.c.deleted_at, before=before)
