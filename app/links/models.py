"""The tables. Clicks have a table of their own, so that counting does not rewrite a link or change its ETag."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from app.links.slugs import MAX_LENGTH
from keel.data.database import METADATA
from keel.data.timestamp import Timestamp
from keel.security.tokens import MAX_SUBJECT_CHARACTERS


@dataclass(frozen=True, slots=True)
class Link:
    """A row of LINKS. The fields are in the order of the columns."""

    slug: str
    url: str
    owner: str
    created_at: datetime
    expires_at: datetime | None = None
    updated_at: datetime | None = None
    """None if the link was never changed."""
    version: int = 1


LINKS = Table(
    "links",
    METADATA,
    Column("slug", String(MAX_LENGTH), primary_key=True),
    Column("url", Text, nullable=False),
    Column("owner", String(MAX_SUBJECT_CHARACTERS), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("updated_at", Timestamp),
    Column("version", Integer, nullable=False, server_default="1"),
    Index("ix_links_owner_created_at_slug", "owner", "created_at", "slug"),
)

CLICKS = Table(
    "link_clicks",
    METADATA,
    Column("slug", ForeignKey(LINKS.c.slug, ondelete="CASCADE"), primary_key=True),
    Column("clicks", BigInteger, nullable=False),
)

DELETED = Table(
    "deleted_slugs",
    METADATA,
    Column("slug", String(MAX_LENGTH), primary_key=True),
    Column("owner", String(MAX_SUBJECT_CHARACTERS), nullable=False),
    Column("deleted_at", Timestamp, nullable=False, index=True),
)

CHECKS = Table(
    "target_checks",
    METADATA,
    Column("slug", ForeignKey(LINKS.c.slug, ondelete="CASCADE"), primary_key=True),
    Column("checked_at", Timestamp, nullable=False),
    Column("status", Integer),  # None: no answer
    Column("error", String(200)),  # None: it is fine
    Column("checks", Integer, nullable=False),
)
"""What the targets of links have answered last, and how often they were asked."""

REPORTS = Table(
    "target_reports",
    METADATA,
    Column("day", String(10), primary_key=True),
    Column("checked", Integer, nullable=False),
    Column("broken", Text, nullable=False),
)
"""What was found each night. `broken` is JSON."""

IMPORTS = Table(
    "imports",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("owner", String(MAX_SUBJECT_CHARACTERS), nullable=False),
    Column("created_at", Timestamp, nullable=False, index=True),
    Column("lines", Integer, nullable=False),
    Column("made", Integer, nullable=False),
)
REFUSALS = Table(
    "import_refusals",
    METADATA,
    Column("of", ForeignKey(IMPORTS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("detail", String(200), nullable=False),
)
"""Lines of imports that made no link."""
