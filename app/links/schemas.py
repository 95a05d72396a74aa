"""Bodies of requests and responses."""

import re
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from app.links import slugs, urls
from app.links.models import Link

RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

URL = "https://example.com/page"
SLUG = "spring-sale"
SHORT_URL = f"https://links.example.com/{SLUG}"
CREATED, EXPIRES = "2026-03-01T09:30:00Z", "2030-06-30T22:00:00Z"


def _rfc3339(value: object) -> object:
    """Accept only RFC 3339: Pydantic also takes numbers, and times in other notations."""
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError(f"Give a time with a time zone, as in RFC 3339, such as {EXPIRES}.")
    return value


def _linkable(text: str) -> str:
    """Check the URL and return it as sent. Checked with the other fields, so that one response names every mistake."""
    urls.parse(text)
    return text


# A pattern that is only in the schema is checked by a validator, which gives a better message.
LongUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=urls.MAX_CHARACTERS,
        description="Absolute http or https URL.",
        examples=[URL],
        json_schema_extra={"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]"},
    ),
    AfterValidator(_linkable),
]
ChosenSlug = Annotated[
    str,
    Field(max_length=slugs.MAX_LENGTH, json_schema_extra={"pattern": f"^{slugs.PATTERN.pattern}$"}),
    AfterValidator(slugs.validate),
]
Expiry = Annotated[
    Annotated[AwareDatetime, BeforeValidator(_rfc3339)] | None,
    Field(description="When the link stops working, within ten years; null for never.", examples=[EXPIRES]),
]


class NewLink(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": URL}, {"url": URL, "slug": SLUG, "expires_at": EXPIRES}]},
    )

    url: LongUrl
    slug: ChosenSlug | None = Field(
        default=None,
        description="Name of your choice: ASCII letters, digits, - and _. Random if left out.",
        examples=[SLUG],
    )
    expires_at: Expiry = None


class LinkPatch(BaseModel):
    """Fields that are left out stay as they are; null removes the expiry (JSON merge patch, RFC 7396)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"url": URL}, {"expires_at": EXPIRES}]},
    )

    # Factories: a default would be in the schema, and a client would take it for what a left-out field means.
    url: LongUrl = Field(default_factory=str)
    expires_at: Expiry = Field(default_factory=lambda: None)


class LinkOut(BaseModel):
    slug: str = Field(examples=[SLUG])
    url: str = Field(examples=[URL])
    short_url: str = Field(examples=[SHORT_URL])
    owner: str = Field(description="The sub claim of the token that made it.", examples=["alice"])
    created_at: datetime = Field(examples=[CREATED])
    updated_at: datetime = Field(
        description="When it was last changed; if never, when it was made.", examples=[CREATED]
    )
    expires_at: datetime | None = Field(description="When it stops working; null for never.", examples=[EXPIRES])

    @classmethod
    def of(cls, link: Link, short_url: str, **more: object) -> Self:
        return cls(
            slug=link.slug,
            url=link.url,
            short_url=short_url,
            owner=link.owner,
            created_at=link.created_at,
            updated_at=link.updated_at or link.created_at,
            expires_at=link.expires_at,
            **more,
        )


class ListedLink(LinkOut):
    clicks: int = Field(description="How often it was followed, up to a moment ago.", examples=[42])


class LinkPage(BaseModel):
    items: list[ListedLink] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


class ClicksOut(BaseModel):
    slug: str = Field(examples=[SLUG])
    clicks: int = Field(description="How often the link was followed, up to a moment ago.", examples=[42])
