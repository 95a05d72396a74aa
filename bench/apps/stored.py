"""FastAPI with SQLAlchemy's ORM, as their documentation shows it: it stores the link that the service stores.

Called with the port, its version and the database's URL.
"""

import secrets
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel, HttpUrl
from sqlalchemy import DateTime
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.apps.answers import add_routes, serve


class Base(DeclarativeBase):
    pass


class Link(Base):
    __tablename__ = "links"

    slug: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    owner: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(default=1)


class NewLink(BaseModel):
    url: HttpUrl
    expires_at: datetime | None = None


class LinkOut(BaseModel):
    slug: str
    url: str
    short_url: str
    owner: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


sessions = async_sessionmaker(create_async_engine(sys.argv[3]), expire_on_commit=False)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


application = FastAPI()


@application.post("/api/v1/links", status_code=201)
async def create_link(new: NewLink, session: Annotated[AsyncSession, Depends(get_session)]) -> LinkOut:
    slug, now = secrets.token_urlsafe(6), datetime.now(UTC)
    link = Link(slug=slug, url=str(new.url), owner="bench", created_at=now, expires_at=new.expires_at)
    session.add(link)
    await session.commit()
    return LinkOut(
        slug=link.slug,
        url=link.url,
        short_url=f"https://links.example.com/{link.slug}",
        owner=link.owner,
        created_at=link.created_at,
        updated_at=link.created_at,
        expires_at=link.expires_at,
    )


add_routes(application)  # of which the first says that it is ready
serve(application)
