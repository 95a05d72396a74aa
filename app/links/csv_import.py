"""Imports links from CSV (RFC 4180): all lines are checked at once, and the links are made in the background.

An import is one transaction that puts its tasks, each of which makes some of the links, so it goes on wherever the
process ends. A line whose slug is taken is refused; nothing else is left out.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from sqlalchemy import select, update

from app.links.metrics import LinkMetrics
from app.links.models import IMPORTS, REFUSALS, Link
from app.links.schemas import NewLink
from app.links.slugs import random_slug
from app.links.store import LinkStore
from app.links.urls import UrlPolicy
from app.links.validation import accept
from keel.data import purge
from keel.data.async_engine import AsyncConnection
from keel.data.database import Database
from keel.data.upsert import insert
from keel.errors.problems import FieldError, Problem, invalid
from keel.tasks.run import Run
from keel.tasks.store import TaskStore
from keel.tasks.task import Task

MAX_LINES = 20_000
LINES_OF_TASK = 200
ATTEMPTS = 5  # to find a free random slug
COLUMNS = ("url", "slug", "expires_at")
MAX_ERRORS = 100  # in one response


class Line(BaseModel):
    """A link to make."""

    number: int
    """Of the line in the file; the header is 1."""
    url: str
    slug: str | None = None
    expires_at: datetime | None = None


class Lines(BaseModel):
    """Some lines of an import."""

    of: str
    """The id of the import."""
    owner: str
    lines: list[Line]


IMPORT = Task(name="import-links", payload=Lines, timeout_seconds=120)


@dataclass(frozen=True, slots=True)
class Import:
    """How far an import has come."""

    id: str
    owner: str
    created_at: datetime
    lines: int
    made: int
    refused: Sequence[tuple[int, str]]
    """The first lines that made no link, and why."""


def parse(text: str, urls: UrlPolicy) -> list[Line]:
    """The lines of a file, each of them checked as a new link is.

    Raises:
        Problem: 422, naming what is wrong by line: `#/3/url` is the URL of line 3.
    """
    found: list[Line] = []
    errors: list[FieldError] = []
    for number, values in _rows(text):
        try:
            body = NewLink.model_validate({name: value for name, value in values.items() if value})
            found.append(Line(number=number, **accept(body, urls)))
        except ValidationError as error:
            errors += [
                FieldError(detail=_sentence(each["msg"]), pointer=f"#/{number}/{each['loc'][0]}")
                for each in error.errors()
            ]
        except Problem as problem:
            errors += [
                FieldError(detail=each.detail, pointer=f"#/{number}/{(each.pointer or '').removeprefix('#/')}")
                for each in problem.errors or []
            ]
        if len(errors) >= MAX_ERRORS:
            break
    if not found and not errors:
        errors.append(FieldError(detail="There is no line with a link.", pointer="#"))
    if errors:
        raise invalid(*errors[:MAX_ERRORS])
    return found


def _rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(rows, [])
        if "url" not in header or not set(header) <= set(COLUMNS) or len(set(header)) < len(header):
            detail = "Begin with a line of the names of the columns: url, and slug and expires_at if you like."
            raise invalid(FieldError(detail=detail, pointer="#/1"))
        for row in rows:
            number = rows.line_num
            if not row:
                continue
            if len(row) != len(header):
                detail = f"It has {len(row)} values, and the first line {len(header)} names."
                raise invalid(FieldError(detail=detail, pointer=f"#/{number}"))
            if number > MAX_LINES:
                raise invalid(FieldError(detail=f"Send {MAX_LINES} lines at most.", pointer=f"#/{number}"))
            yield number, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise invalid(FieldError(detail=f"This is no CSV: {error}.", pointer=f"#/{rows.line_num}")) from error


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")


class Imports:
    """The imports in the database."""

    def __init__(self, database: Database, tasks: TaskStore, store: LinkStore, metrics: LinkMetrics) -> None:
        self._database = database
        self._tasks = tasks
        self._store = store
        self._created = metrics.created

    async def begin(self, import_id: str, owner: str, lines: Sequence[Line]) -> None:
        """Begin an import. One of the same id goes on as it is."""
        values = {"id": import_id, "owner": owner, "created_at": datetime.now(UTC), "lines": len(lines), "made": 0}
        new = insert(self._database.dialect, IMPORTS).values(values).on_conflict_do_nothing().returning(IMPORTS.c.id)
        async with self._database.transaction() as connection:
            if await connection.scalar(new) is None:
                return
            for start in range(0, len(lines), LINES_OF_TASK):
                some = Lines(of=import_id, owner=owner, lines=list(lines[start : start + LINES_OF_TASK]))
                await self._tasks.put(connection, IMPORT, some)
            await connection.commit()

    async def read(self, import_id: str) -> Import | None:
        """How far an import has come; None if there is none."""
        refused = select(REFUSALS.c.line, REFUSALS.c.detail).where(REFUSALS.c.of == import_id).order_by(REFUSALS.c.line)
        async with self._database.reading() as connection:
            row: Any = (await connection.execute(select(IMPORTS).where(IMPORTS.c.id == import_id))).one_or_none()
            if row is None:
                return None
            refusals: Sequence[Any] = (await connection.execute(refused.limit(MAX_ERRORS))).all()
        return Import(row.id, row.owner, row.created_at, row.lines, row.made, [tuple(each) for each in refusals])

    async def make(self, some: Lines, run: Run) -> None:
        """Do the task IMPORT."""
        chosen = [line.slug for line in some.lines if line.slug]
        made = 0
        try:
            async with run.transaction() as connection:
                for line in some.lines:
                    if await self._add(connection, line, some.owner):
                        made += 1
                    else:
                        refusal = {"of": some.of, "line": line.number, "detail": f"The slug {line.slug} is taken."}
                        await connection.execute(insert(self._database.dialect, REFUSALS).values(refusal))
                more = update(IMPORTS).where(IMPORTS.c.id == some.of).values(made=IMPORTS.c.made + made)
                await connection.execute(more)
        finally:  # it may have been committed even if this raised
            await self._store.forget(chosen)
        self._created.inc(made)

    async def purge(self, before: datetime) -> int:
        """Delete the imports that began before a time; returns how many. Their links stay."""
        return await purge.purge(self._database, IMPORTS, IMPORTS.c.created_at, before=before)

    async def _add(self, connection: AsyncConnection, line: Line, owner: str) -> bool:
        for _ in range(1 if line.slug else ATTEMPTS):
            slug = line.slug or random_slug()
            link = Link(slug, line.url, owner, datetime.now(UTC), line.expires_at)
            if await self._store.add(connection, link, chosen=line.slug is not None):
                return True
        return False
