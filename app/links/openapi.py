"""What the OpenAPI schema says of answers beyond the shape of their body."""

from typing import Annotated, Any

from fastapi import Path

from app.errors.problems import documented
from app.links.schemas import SHORT_URL, SLUG

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
CREATED = ETAG | {
    "Location": {
        "description": "The short link.",
        "schema": {"type": "string", "format": "uri"},
        "example": SHORT_URL,
    },
    "Idempotent-Replayed": {
        "description": "This is the answer that the same Idempotency-Key got before; nothing was made now.",
        "schema": {"type": "string", "const": "true"},
    },
}
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
    304: {"description": "The link is as If-None-Match says it is known.", "headers": ETAG}
}


def _condition(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"parameters": [{"name": name, "in": "header", "description": description, "schema": schema}]}


# Read from the request by app.http.etags, and so not declared by a route's signature.
IF_MATCH = _condition("If-Match", "Do it only if the link still has one of these ETags; else the answer is 412.")
IF_NONE_MATCH = _condition("If-None-Match", "ETags known; if the link still has one of them, the answer is 304.")

Slug = Annotated[str, Path(description="Last part of the short link.", examples=[SLUG])]

_CHALLENGE = {"WWW-Authenticate": {"description": "What is missing (RFC 6750).", "schema": {"type": "string"}}}
_PROBLEM_HEADERS = {401: _CHALLENGE, 412: ETAG}

MERGE_PATCH = "application/merge-patch+json"

KEY_DESCRIPTION = (
    "Any string of your own for one link you mean to make. Send it again, with the same body, when you do not know "
    "whether the first request arrived: you get the first one's answer, for a day or more, and no second link."
)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument for these problems; app.openapi adds those that every route may answer with."""
    responses = documented(*statuses)
    for status, headers in _PROBLEM_HEADERS.items():
        if status in responses:
            responses[status]["headers"] = headers
    return responses
