"""Links as answers: JSON and ETags."""

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
    """The time is in it because a link that is deleted and made anew begins with the same version."""
    return etags.strong(f"{(link.created_at - EPOCH) // timedelta(microseconds=1):x}-{link.version}")


def body(link: Link, links: Links) -> str:
    return LinkOut.of(link, links.short_url(link.slug)).model_dump_json()


def one(link: Link, links: Links) -> Response:
    # Kept by the client alone, and asked about with If-None-Match before each use.
    headers = {"ETag": etag(link), "Cache-Control": "private, no-cache"}
    return Response(body(link, links), media_type=JSON, headers=headers)


def of(model: BaseModel, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), media_type=JSON, headers=headers)


def creation(link: Link, links: Links) -> str:
    """The answer to the request that made `link`, in a form to be kept: `created` makes a response of it."""
    headers = {"Location": links.short_url(link.slug), "ETag": etag(link)}
    return json.dumps({"headers": headers, "body": body(link, links)})


def created(kept: str, replayed: bool = False) -> Response:
    answer = json.loads(kept)
    headers = answer["headers"] | ({"Idempotent-Replayed": "true"} if replayed else {})
    return Response(answer["body"], 201, headers, JSON)
