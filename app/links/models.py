"""The tables. Clicks have one of their own, so that counting neither rewrites a link nor changes its ETag."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from app.links.slugs import MAX_LENGTH
from keel.data.database import METADATA
from keel.data.timestamp import Timestamp
from keel.security.tokens import MAX_SUBJECT_CHARACTERS


@dataclass(frozen=True, slots=True)
class Link:
    """A row of LINKS, with its columns in their order."""

    slug: str
    url: str
    owner: str
    created_at: datetime
    expires_at: datetime | None = None
    updated_at: datetime | None = None
    """None: not since it was made."""
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
