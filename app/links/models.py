"""The tables. Clicks have one of their own, so that counting neither rewrites a link nor changes its ETag."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, Integer, String, Table, Text
from sqlalchemy.types import TypeDecorator

from app.data.database import METADATA
from app.links.slugs import MAX_LENGTH
from app.security.auth import MAX_SUBJECT_CHARACTERS

FINGERPRINT_CHARACTERS = 64  # SHA-256, hexadecimal
MAX_KEY_CHARACTERS = 255


class Timestamp(TypeDecorator[datetime]):
    """A point in time, always aware and in UTC: SQLite has no time zones, PostgreSQL's session has one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


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

KEYS = Table(
    "idempotency_keys",
    METADATA,
    Column("owner", String(MAX_SUBJECT_CHARACTERS), primary_key=True),
    Column("key", String(MAX_KEY_CHARACTERS), primary_key=True),
    Column("fingerprint", String(FINGERPRINT_CHARACTERS), nullable=False),
    Column("response", Text, nullable=False),  # JSON
    Column("created_at", Timestamp, nullable=False, index=True),
)

DELETED = Table(
    "deleted_slugs",
    METADATA,
    Column("slug", String(MAX_LENGTH), primary_key=True),
    Column("owner", String(MAX_SUBJECT_CHARACTERS), nullable=False),
    Column("deleted_at", Timestamp, nullable=False, index=True),
)
