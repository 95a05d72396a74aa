"""HTTP responses with links: JSON bodies, ETags and caching headers."""

import json
from datetime import timedelta

from fastapi import Response
from pydantic import BaseModel

from app.links.dependencies import Links
from app.links.models import Link
from app.links.schemas import LinkOut
from keel.http import etags
from keel.http.cursors import EPOCH

JSON = "application/json"


def etag(link: Link) -> str:
    """The ETag of a link: when it was made, and its version.

    The version is not enough: a link that is deleted and made again starts with the same one.
    """
    return etags.strong(f"{(link.created_at - EPOCH) // timedelta(microseconds=1):x}-{link.version}")


def body(link: Link, links: Links) -> str:
    """The link as JSON."""
    return LinkOut.of(link, links.short_url(link.slug)).model_dump_json()


def one(link: Link, links: Links) -> Response:
    """The response with one link."""
    # Only the client may cache it, and must revalidate it with If-None-Match before each use.
    headers = {"ETag": etag(link), "Cache-Control": "private, no-cache"}
    return Response(body(link, links), media_type=JSON, headers=headers)


def of(model: BaseModel, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """The response with any model as JSON."""
    return Response(model.model_dump_json(), status, headers, JSON)


def creation(link: Link, links: Links) -> str:
    """The response to the request that made `link`, as text that can be stored; `created` turns it into a response."""
    headers = {"Location": links.short_url(link.slug), "ETag": etag(link)}
    return json.dumps({"headers": headers, "body": body(link, links)})


def created(kept: str, replayed: bool = False) -> Response:
    """The 201 that `creation` has stored; `replayed` marks it as the response to an earlier request."""
    answer = json.loads(kept)
    headers = answer["headers"] | ({"Idempotent-Replayed": "true"} if replayed else {})
    return Response(answer["body"], 201, headers, JSON)
