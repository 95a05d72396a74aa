"""Links in the database, with a cache of their targets in front."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Executable, Row, and_, bindparam, delete, desc, func, literal, select, tuple_, update

from app.links.deleted_slugs import OF_OTHERS, DeletedSlugs
from app.links.models import CLICKS, LINKS, Link
from app.links.slugs import random_slug
from app.links.targets import Target, Targets
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database, Values
from keel.data.timestamp import Timestamp
from keel.data.upsert import insert
from keel.http.cursors import Position

ATTEMPTS = 5

Also = Callable[[AsyncConnection, Link], Awaitable[None]]


class SlugTakenError(Exception):
    """Another link has the slug, or it is reserved for somebody else."""


class LinkStore:
    """Reads and writes links.

    Every method may raise DatabaseUnavailableError. Whether a write was executed is unknown then.
    """

    def __init__(
        self, database: Database, targets: Targets, deleted: DeletedSlugs, with_each: Also | None = None
    ) -> None:
        """`with_each` runs in the transaction that adds a link."""
        self.database = database
        self.deleted = deleted
        self._targets = targets
        self._with_each = with_each
        row = select(*(bindparam(column.name, type_=column.type) for column in LINKS.c)).where(~OF_OTHERS.exists())
        add = insert(database.dialect, LINKS).from_select(list(LINKS.c), row)
        self._add = add.on_conflict_do_nothing().returning(LINKS.c.slug)

    async def target(self, slug: str) -> Target | None:
        """Where `slug` leads; None if there is no such link.

        It is as old as the cache allows, and may be stale while the database is unavailable.
        """
        return await self._targets.get(slug, self._read_target)

    async def create(
        self,
        url: str,
        owner: str,
        slug: str | None = None,
        expires_at: datetime | None = None,
        also: Also | None = None,
    ) -> Link:
        """Add a link under `slug`, or under a random one. `also` runs first, in the same transaction.

        Raises:
            SlugTakenError: another link has that slug, or it is reserved for the owner of a deleted link.
        """
        for _ in range(ATTEMPTS):
            link = Link(
                slug=slug or random_slug(),
                url=url,
                owner=owner,
                created_at=datetime.now(UTC),
                expires_at=expires_at,
            )
            if await self._insert(link, also, chosen=slug is not None):
                return link
            if slug is not None:
                raise SlugTakenError(slug)
        raise RuntimeError(f"no free slug in {ATTEMPTS} attempts: the random slugs are too short")

    async def read(self, slug: str) -> Link | None:
        """The link of `slug`, from the database; None if there is none."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(LINKS).where(LINKS.c.slug == slug))).one_or_none()
        return None if row is None else _link(row)

    async def clicks(self, slug: str) -> int:
        """Clicks written so far; 0 for an unknown link."""
        async with self.database.reading() as connection:
            clicks: int | None = await connection.scalar(select(CLICKS.c.clicks).where(CLICKS.c.slug == slug))
        return clicks or 0

    async def page(self, owner: str, limit: int, after: Position | None = None) -> list[tuple[Link, int]]:
        """Up to `limit` links of `owner` with their clicks, newest first; `after` is the position to continue from."""
        statement = (
            select(LINKS, func.coalesce(CLICKS.c.clicks, 0))
            .outerjoin(CLICKS, CLICKS.c.slug == LINKS.c.slug)
            .where(LINKS.c.owner == owner)
            .order_by(desc(LINKS.c.created_at), desc(LINKS.c.slug))
            .limit(limit)
        )
        if after is not None:
            place = tuple_(literal(after.created_at, Timestamp), literal(after.key))
            statement = statement.where(tuple_(LINKS.c.created_at, LINKS.c.slug) < place)
        async with self.database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        return [(_link(row[:-1]), row[-1]) for row in rows]

    async def update(self, link: Link, changes: dict[str, Any]) -> Link | None:
        """Change columns of `link` and return the new link; None if it has changed since it was read."""
        values = changes | {"updated_at": datetime.now(UTC), "version": link.version + 1}
        row = await self._write(link.slug, update(LINKS).where(_unchanged(link)).values(values).returning(LINKS))
        return None if row is None else _link(row)

    async def delete(self, link: Link) -> bool:
        """Delete `link` and reserve its slug for its owner; False if it has changed since it was read."""
        statement = delete(LINKS).where(_unchanged(link)).returning(LINKS.c.slug)
        try:
            async with self.database.transaction() as connection:
                if await connection.scalar(statement) is None:
                    return False
                await self.deleted.keep(connection, link)
                await connection.commit()
        finally:  # it may have been committed even if this raised
            await self._targets.changed(link.slug)
        return True

    async def _read_target(self, slug: str) -> Target | None:
        async with self.database.reading() as connection:
            found = await connection.execute(select(LINKS.c.url, LINKS.c.expires_at).where(LINKS.c.slug == slug))
            row = found.one_or_none()
        if row is None:
            return None
        return Target(row.url, row.expires_at.timestamp() if row.expires_at else None)

    async def add(self, connection: AsyncConnection, link: Link, *, chosen: bool) -> bool:
        """Add `link` in the transaction of `connection`; returns whether its slug was free.

        Call `forget` when the transaction has ended. `chosen` says that a user has chosen the slug.
        """
        values = self._values(link)
        if await connection.scalar(self._add, values) is None:
            return False
        if chosen and await connection.scalar(OF_OTHERS, values) is not None:
            await connection.execute(delete(LINKS).where(LINKS.c.slug == link.slug))
            return False
        if self._with_each is not None:
            await self._with_each(connection, link)
        return True

    async def forget(self, slugs: Sequence[str]) -> None:
        """Forget what the caches have of these slugs."""
        for slug in slugs:
            await self._targets.changed(slug)

    async def _insert(self, link: Link, also: Also | None, *, chosen: bool) -> bool:
        """Insert `link`; returns whether its slug was free.

        The slug that a user has `chosen` may be that of a link which is being deleted at this moment. The INSERT waits
        for that transaction but does not see the reservation it makes. So the reservations are read again afterwards.
        """
        if also is None and self._with_each is None and not chosen:
            return await self._write(link.slug, self._add, self._values(link)) is not None
        try:
            async with self.database.transaction() as connection:
                if also is not None:
                    await also(connection, link)
                if not await self.add(connection, link, chosen=chosen):
                    return False
                await connection.commit()
        finally:  # it may have been committed even if this raised
            await self._targets.changed(link.slug)
        return True

    def _values(self, link: Link) -> dict[str, Any]:
        return {**asdict(link), "since": self.deleted.since()}

    async def _write(self, slug: str, statement: Executable, values: Values = None) -> Row[Any] | None:
        """Execute a statement that changes the link, and forget its cached target; returns the row, if there is one."""
        try:
            return await self.database.write(statement, values)
        finally:  # it may have been executed even if this raised
            await self._targets.changed(slug)


def _link(row: Sequence[Any]) -> Link:
    return Link(*row)


def _unchanged(link: Link) -> Any:
    """The condition that `link` has not changed since it was read.

    It compares the time too: a link that was deleted and made again may have the same version.
    """
    return and_(LINKS.c.slug == link.slug, LINKS.c.created_at == link.created_at, LINKS.c.version == link.version)
