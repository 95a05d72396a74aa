"""Links in the database."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app.database import Database
from app.links.models import Link
from app.links.slugs import random_slug
from app.local_cache import LocalCache

ATTEMPTS = 5
MISSING_SECONDS = 1.0  # a link that was just made elsewhere is found after this
MAX_CACHED = 10_000  # a few megabytes


class SlugTakenError(Exception):
    pass


class LinkStore:
    def __init__(self, database: Database, cache_seconds: float = 0) -> None:
        self.database = database
        self._targets: LocalCache[str] = LocalCache(cache_seconds, min(cache_seconds, MISSING_SECONDS), MAX_CACHED)

    async def create(self, url: str, owner: str, slug: str | None = None) -> Link:
        """Add a link under `slug`, or under a random one.

        Raises:
            SlugTakenError: there is a link of that slug.
            DatabaseUnavailableError: nothing was added, as far as we know.
        """
        if slug is not None:
            return await self._insert(slug, url, owner)
        for _ in range(ATTEMPTS):
            try:
                return await self._insert(random_slug(), url, owner)
            except SlugTakenError:
                continue
        raise RuntimeError(f"no free slug in {ATTEMPTS} attempts: the random slugs are too short")

    async def target(self, slug: str) -> str | None:
        """Where `slug` leads, None if nowhere. May be as old as the cache's time."""
        return await self._targets.get(slug, self._read_target)

    async def _read_target(self, slug: str) -> str | None:
        async with self.database.session() as session:
            return await session.scalar(select(Link.url).where(Link.slug == slug))

    async def _insert(self, slug: str, url: str, owner: str) -> Link:
        link = Link(slug=slug, url=url, owner=owner, created_at=datetime.now(UTC))
        try:
            async with self.database.session() as session:
                session.add(link)
                await session.commit()
        except IntegrityError as error:
            if await self._read_target(slug) is None:  # some other constraint
                raise
            raise SlugTakenError(slug) from error
        self._targets.forget(slug)
        return link
