"""Clicks: counted in memory while redirects are answered, and written to the database in batches."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy import BigInteger, Executable, cast, select, true

from app.links.models import CLICKS, LINKS
from keel.data.database import Database
from keel.data.periodic import every
from keel.data.upsert import insert
from keel.dialects import Dialect

log = structlog.get_logger("app.links")

MAX_SLUGS = 100_000  # held in memory, about ten megabytes; only clicks on links that exist are counted
BATCH = 5_000  # slugs in one statement, so that none runs into the time-out

Tell = Callable[[dict[str, int]], Awaitable[None]]


async def _nobody(_: dict[str, int]) -> None:
    """Tell nobody."""


class ClickCounter:
    """Counts clicks and writes each of them at least once.

    A batch that fails is kept, and written with the next one. If it was committed and only the confirmation was lost,
    its clicks count twice. A few clicks too many are better than none while the database is unavailable.
    """

    def __init__(self, database: Database, registry: CollectorRegistry, seconds: float, tell: Tell = _nobody) -> None:
        """`tell` is called with the clicks that have been written."""
        self._database = database
        self._tell = tell
        self._seconds = seconds
        self._add = _add(database.dialect)
        self._counts: dict[str, int] = {}
        self._writing = 0
        self.flushed = Counter("link_clicks_flushed", "Clicks written to the database.", registry=registry)
        self.failures = Counter(
            "link_click_flush_failures", "Batches of clicks that could not be written.", registry=registry
        )
        self.dropped = Counter(
            "link_clicks_dropped", "Clicks dropped, because too many links had unwritten ones.", registry=registry
        )
        waiting = Gauge("link_clicks_waiting", "Clicks not written yet.", registry=registry)
        waiting.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Clicks counted and not written yet."""
        return sum(self._counts.values()) + self._writing

    def count(self, slug: str, clicks: int = 1) -> None:
        """Count clicks on a link that exists; drop them if MAX_SLUGS links wait already."""
        counts = self._counts
        if slug in counts:
            counts[slug] += clicks
        elif len(counts) < MAX_SLUGS:
            counts[slug] = clicks
        else:
            self.dropped.inc(clicks)

    @contextlib.asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        """Write the clicks at regular intervals while inside, and the rest at the end."""
        try:
            async with every(self._seconds, self.flush):
                yield
        finally:
            try:
                await self.flush()
            except Exception:
                log.exception("clicks lost", clicks=self.waiting)

    async def flush(self) -> None:
        """Write the clicks counted so far.

        Raises:
            DatabaseUnavailableError: or any other error; the clicks that were not written are kept.
        """
        batch, self._counts = list(self._counts.items()), {}
        self._writing = sum(clicks for _, clicks in batch)
        written = 0
        try:
            while written < len(batch):
                part = batch[written : written + BATCH]
                await self._write(dict(part))
                written += len(part)
                clicks = sum(clicks for _, clicks in part)
                self._writing -= clicks
                self.flushed.inc(clicks)
                await self._tell(dict(part))
        except BaseException:  # a cancelled flush must not lose clicks either
            self.failures.inc()
            raise
        finally:
            self._writing = 0
            for slug, clicks in batch[written:]:
                self.count(slug, clicks)

    async def _write(self, counts: dict[str, int]) -> None:
        await self._database.write(self._add, {"counts": json.dumps(counts)})


def _add(dialect: Dialect) -> Executable:
    """Adds the clicks in the JSON object `counts`. Its text is the same for any number of slugs: it is prepared once.

    Sorted, so that two processes lock rows in the same order and cannot deadlock. The join skips deleted links. A link
    that is deleted at this very moment fails the batch; the next attempt succeeds.
    """
    counted = dialect.json_pairs("counts")
    rows = (
        select(LINKS.c.slug, cast(counted.c.value, BigInteger))
        .join_from(LINKS, counted, counted.c.key == LINKS.c.slug)
        .where(true())
        .order_by(LINKS.c.slug)
    )
    add = insert(dialect, CLICKS).from_select(["slug", "clicks"], rows)
    more = CLICKS.c.clicks + add.excluded.clicks
    return add.on_conflict_do_update(index_elements=["slug"], set_={"clicks": more})
