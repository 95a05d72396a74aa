"""Checks the targets of links in the background, and writes a report each night."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Row, bindparam, func, literal, or_, select

from app.links import reachability
from app.links.metrics import LinkMetrics
from app.links.models import CHECKS, LINKS, REPORTS, Link
from app.links.reachability import Finding
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database
from keel.data.upsert import insert
from keel.tasks.run import Run
from keel.tasks.store import TaskStore
from keel.tasks.task import Schedule, Task

PAGE = 50  # links in one task: at worst it takes PAGE / AT_ONCE time-outs, 50 seconds
AT_ONCE = 10
EXAMPLES = 100  # broken links that a report names


class OneLink(BaseModel):
    """A link to check."""

    slug: str


class LinksAfter(BaseModel):
    """A page of links to check, in the order of their slugs."""

    slug: str = ""


CHECK = Task(name="check-target", payload=OneLink)
CHECK_ALL = Task(name="check-targets", payload=LinksAfter)
NIGHTLY = Schedule(task=CHECK_ALL, cron="30 2 * * *")


class TargetChecks:
    """What asks targets, and keeps what they answer."""

    def __init__(self, database: Database, tasks: TaskStore, metrics: LinkMetrics, *, public_only: bool) -> None:
        self._database = database
        self._tasks = tasks
        self._checked = metrics.checked
        self._public_only = public_only
        columns = ("checked_at", "status", "error")
        found = [bindparam(name, type_=CHECKS.c[name].type) for name in columns]
        # Of a link that is still there.
        row = select(LINKS.c.slug, *found, literal(1)).where(LINKS.c.slug == bindparam("of"))
        add = insert(database.dialect, CHECKS).from_select(["slug", *columns, "checks"], row)
        new = {name: add.excluded[name] for name in columns}
        self._keep = add.on_conflict_do_update(index_elements=["slug"], set_={**new, "checks": CHECKS.c.checks + 1})

    async def put(self, connection: AsyncConnection, link: Link) -> None:
        """Have the target of a new link checked, if the transaction of `connection` is committed."""
        await self._tasks.put(connection, CHECK, OneLink(slug=link.slug))

    async def check(self, one: OneLink, run: Run) -> None:
        """Do the task CHECK."""
        links = await self._links(LINKS.c.slug == one.slug, 1)
        findings = await self._ask(links)
        async with run.transaction() as connection:
            await self._write(connection, links, findings)

    async def check_page(self, page: LinksAfter, run: Run) -> None:
        """Do the task CHECK_ALL: check a page, and put the task of the next one; after the last one, write a report."""
        links = await self._links(LINKS.c.slug > page.slug, PAGE)
        findings = await self._ask(links)
        async with run.transaction() as connection:
            await self._write(connection, links, findings)
            if len(links) == PAGE:
                await self._tasks.put(connection, CHECK_ALL, LinksAfter(slug=links[-1].slug))
            else:
                await self._report(connection)

    async def reports(self, limit: int) -> list[dict[str, Any]]:
        """The reports of the last nights, the newest first."""
        statement = select(REPORTS).order_by(REPORTS.c.day.desc()).limit(limit)
        async with self._database.reading() as connection:
            rows: Sequence[Any] = (await connection.execute(statement)).all()
        return [{"day": day, "checked": checked, **json.loads(broken)} for day, checked, broken in rows]

    async def _links(self, which: Any, limit: int) -> list[Row[Any]]:
        alive = or_(LINKS.c.expires_at.is_(None), LINKS.c.expires_at > datetime.now(UTC))
        statement = select(LINKS.c.slug, LINKS.c.url).where(which, alive).order_by(LINKS.c.slug).limit(limit)
        async with self._database.reading() as connection:
            return list((await connection.execute(statement)).all())

    async def _ask(self, links: list[Row[Any]]) -> list[Finding]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(url: str) -> Finding:
            async with turns:
                finding = await reachability.ask(url, public_only=self._public_only)
            self._checked.labels("broken" if finding.error else "fine").inc()
            return finding

        return await asyncio.gather(*(ask(link.url) for link in links))

    async def _write(self, connection: AsyncConnection, links: list[Row[Any]], findings: list[Finding]) -> None:
        for link, finding in zip(links, findings, strict=True):
            values = {"checked_at": datetime.now(UTC), "status": finding.status, "error": finding.error}
            await connection.execute(self._keep, {"of": link.slug, **values})

    async def _report(self, connection: AsyncConnection) -> None:
        counted = select(func.count(), func.count(CHECKS.c.error)).select_from(CHECKS)
        checked, broken = (await connection.execute(counted)).one()
        named = select(LINKS.c.slug, LINKS.c.url, CHECKS.c.error).join(CHECKS).where(CHECKS.c.error.is_not(None))
        rows = (await connection.execute(named.order_by(LINKS.c.slug).limit(EXAMPLES))).all()
        examples = [{"slug": slug, "url": url, "error": error} for slug, url, error in rows]
        values = {"checked": checked, "broken": json.dumps({"broken": broken, "examples": examples})}
        add = insert(self._database.dialect, REPORTS).values(day=datetime.now(UTC).date().isoformat(), **values)
        await connection.execute(add.on_conflict_do_update(index_elements=["day"], set_=values))
