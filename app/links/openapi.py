"""Parts of the OpenAPI document that routes share: tags, headers and conditions."""

from typing import Annotated, Any

from fastapi import Path

from app.links.schemas import SHORT_URL, SLUG
from keel.http.openapi import REPLAYED, condition

TAGS = [
    {"name": "links", "description": "Make short links, and list, change and delete your own."},
    {"name": "redirects", "description": "Follow a short link. Public: needs no token."},
]

ETAG = {
    "ETag": {
        "description": "Version of the link, for If-Match and If-None-Match (RFC 9110). Clicks do not change it.",
        "schema": {"type": "string"},
        "example": '"64bd1a2f3c400-1"',
    }
}
CREATED = (
    ETAG
    | REPLAYED
    | {
        "Location": {
            "description": "The short link.",
            "schema": {"type": "string", "format": "uri"},
            "example": SHORT_URL,
        },
    }
)
NEXT = {
    "Link": {
        "description": "The next page, if there is one (RFC 8288).",
        "schema": {"type": "string"},
        "example": '</api/v1/links?limit=20&cursor=AAZL8x0_2EBzcHJpbmctc2FsZQ>; rel="next"',
    }
}
TARGET = {
    "Location": {
        "description": "Where the link leads.",
        "schema": {"type": "string", "format": "uri"},
        "example": "https://example.com/page",
    }
}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The link still has one of the ETags of If-None-Match.", "headers": ETAG}
}


# keel.http.etags reads these headers from the request, so no route's signature declares them.
IF_MATCH = condition("If-Match", "Only if the link still has one of these ETags; otherwise the response is 412.")
IF_NONE_MATCH = condition(
    "If-None-Match", "ETags that you know; if the link still has one of them, the response is 304."
)

Slug = Annotated[str, Path(description="Last part of the short link.", examples=[SLUG])]

MERGE_PATCH = "application/merge-patch+json"
