"""The tables. Clicks have one of their own, so that counting neither rewrites a link nor changes its ETag."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from app.data.database import Base
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


class Link(Base):
    __tablename__ = "links"
    __table_args__ = (Index("ix_links_owner_created_at_slug", "owner", "created_at", "slug"),)

    slug: Mapped[str] = mapped_column(String(MAX_LENGTH), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(MAX_SUBJECT_CHARACTERS))
    created_at: Mapped[datetime] = mapped_column(Timestamp)
    expires_at: Mapped[datetime | None] = mapped_column(Timestamp)
    updated_at: Mapped[datetime | None] = mapped_column(Timestamp)  # None: not since it was made
    version: Mapped[int] = mapped_column(default=1, server_default="1")


class LinkClicks(Base):
    __tablename__ = "link_clicks"

    slug: Mapped[str] = mapped_column(ForeignKey(Link.slug, ondelete="CASCADE"), primary_key=True)
    clicks: Mapped[int] = mapped_column(BigInteger)


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"

    owner: Mapped[str] = mapped_column(String(MAX_SUBJECT_CHARACTERS), primary_key=True)
    key: Mapped[str] = mapped_column(String(MAX_KEY_CHARACTERS), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(FINGERPRINT_CHARACTERS))
    response: Mapped[str] = mapped_column(Text)  # JSON
    created_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
