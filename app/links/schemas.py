"""What clients send and get."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.links import slugs, urls


class NewLink(BaseModel):
    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=urls.MAX_CHARACTERS,
        description="Absolute http or https URL.",
        examples=["https://example.com/page"],
    )
    slug: Annotated[str, AfterValidator(slugs.validate)] | None = Field(
        default=None,
        max_length=slugs.MAX_LENGTH,
        description="Chosen name; a random one if not given.",
        examples=["spring-sale"],
    )


class LinkOut(BaseModel):
    slug: str
    url: str
    short_url: str = Field(examples=["https://links.example.com/spring-sale"])
    created_at: datetime
