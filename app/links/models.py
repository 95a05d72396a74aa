from datetime import datetime

from sqlalchemy import DateTime, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.auth import MAX_SUBJECT_CHARACTERS
from app.database import Base
from app.links.slugs import MAX_LENGTH


class Link(Base):
    __tablename__ = "links"

    slug: Mapped[str] = mapped_column(String(MAX_LENGTH), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    owner: Mapped[str] = mapped_column(String(MAX_SUBJECT_CHARACTERS))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
