"""Links in the database, and their targets in a cache before it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, desc, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.data.database import Database
from app.links.cursors import Position
from app.links.models import Link, LinkClicks, Timestamp
from app.links.slugs import random_slug
from app.links.targets import Target, Targets
from app.links.upsert import insert

ATTEMPTS = 5
COLUMNS = (Link.slug, Link.url, Link.owner, Link.created_at, Link.expires_at, Link.updated_at, Link.version)

Also = Callable[[AsyncSession, Link], Awaitable[None]]


class SlugTakenError(Exception):
    pass


class LinkStore:
    """Every method raises DatabaseUnavailableError; a write may then have happened or not."""

    def __init__(self, database: Database, targets: Targets) -> None:
        self.database = database
        self._targets = targets

    async def target(self, slug: str) -> Target | None:
        """Where `slug` leads, None if nowhere. May be as old as the cache allows."""
        return await self._targets.get(slug, self._read_target)

    async def create(
        self,
        url: str,
        owner: str,
        slug: str | None = None,
        expires_at: datetime | None = None,
        also: Also | None = None,
    ) -> Link:
        """Add a link under `slug`, or under a random one; `also` is done first, in the same transaction.

        Raises:
            SlugTakenError: there is a link of that slug.
        """
        for _ in range(ATTEMPTS):
            link = Link(
                slug=slug or random_slug(),
                url=url,
                owner=owner,
                created_at=datetime.now(UTC),
                expires_at=expires_at,
                updated_at=None,
                version=1,
            )
            if await self._insert(link, also):
                return link
            if slug is not None:
                raise SlugTakenError(slug)
        raise RuntimeError(f"no free slug in {ATTEMPTS} attempts: the random slugs are too short")

    async def read(self, slug: str) -> Link | None:
        async with self.database.reading() as connection:
            row = (await connection.execute(select(*COLUMNS).where(Link.slug == slug))).one_or_none()
        return None if row is None else _link(row)

    async def clicks(self, slug: str) -> int:
        """Clicks written so far, 0 for an unknown link."""
        async with self.database.reading() as connection:
            clicks: int | None = await connection.scalar(select(LinkClicks.clicks).where(LinkClicks.slug == slug))
        return clicks or 0

    async def page(self, owner: str, limit: int, after: Position | None = None) -> list[tuple[Link, int]]:
        """Up to `limit` links of `owner` with their clicks, newest first, those after a position."""
        statement = (
            select(*COLUMNS, func.coalesce(LinkClicks.clicks, 0).label("clicks"))
            .outerjoin(LinkClicks, LinkClicks.slug == Link.slug)
            .where(Link.owner == owner)
            .order_by(desc(Link.created_at), desc(Link.slug))
            .limit(limit)
        )
        if after is not None:
            place = tuple_(literal(after.created_at, Timestamp), literal(after.slug))
            statement = statement.where(tuple_(Link.created_at, Link.slug) < place)
        async with self.database.reading() as connection:
            rows = (await connection.execute(statement)).all()
        return [(_link(row), row.clicks) for row in rows]

    async def update(self, link: Link, changes: dict[str, Any]) -> Link | None:
        """Change columns of `link` and return it as it is then; None if it is no longer as it was read."""
        values = changes | {"updated_at": datetime.now(UTC), "version": link.version + 1}
        statement = update(Link).where(_unchanged(link)).values(values).returning(*COLUMNS)
        row = await self._write(link.slug, statement)
        return None if row is None else _link(row)

    async def delete(self, link: Link) -> bool:
        """Delete `link`; False if it is no longer as it was read."""
        statement = delete(Link).where(_unchanged(link)).returning(Link.slug)
        return await self._write(link.slug, statement) is not None

    async def _read_target(self, slug: str) -> Target | None:
        async with self.database.reading() as connection:
            row = (await connection.execute(select(Link.url, Link.expires_at).where(Link.slug == slug))).one_or_none()
        if row is None:
            return None
        return Target(row.url, row.expires_at.timestamp() if row.expires_at else None)

    async def _insert(self, link: Link, also: Also | None) -> bool:
        values = {column.key: getattr(link, column.key) for column in COLUMNS}
        try:
            async with self.database.session() as session:
                if also is not None:
                    await also(session, link)
                statement = insert(session, Link).values(values).on_conflict_do_nothing().returning(Link.slug)
                if await session.scalar(statement) is None:
                    return False
                await session.commit()
        finally:  # a commit may have happened even if it raised
            await self._targets.changed(link.slug)
        return True

    async def _write(self, slug: str, statement: Any) -> Any:
        """The row that an UPDATE or DELETE returns, None if it met none."""
        try:
            async with self.database.session() as session:
                row = (await session.execute(statement)).one_or_none()
                await session.commit()
        finally:
            await self._targets.changed(slug)
        return row


def _link(row: Any) -> Link:
    return Link(**{column.key: getattr(row, column.key) for column in COLUMNS})


def _unchanged(link: Link) -> Any:
    """Also not deleted and made anew meanwhile, when its version may be the same."""
    return and_(Link.slug == link.slug, Link.created_at == link.created_at, Link.version == link.version)
