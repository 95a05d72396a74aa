"""/api/v1/links/{slug}/clicks/events: follow the clicks on a link as they come, by server-sent events.

The clicks of all links are one feed, which each pod tells of what it has written; each client hears of its own link.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends

from app.links.dependencies import LinksDep, Reader, check_owner
from app.links.openapi import Slug
from keel.data.feed import MISSED, Feed
from keel.errors.problems import Problem
from keel.http import routing
from keel.http.events import EventSourceResponse, LastEventId, ServerSentEvent, of_feed
from keel.http.openapi import problems

KEPT = 100  # events for clients that come back; each may name BATCH links
CLICKS = "clicks"

router = routing.api_router("/links", "links")


async def tell(feed: Feed, clicks: dict[str, int]) -> None:
    """Tell of clicks by slug."""
    await feed.publish(json.dumps(clicks), CLICKS)


# A dependency: what a generator raises comes after the head of its response.
async def own_slug(slug: Slug, reader: Reader, links: LinksDep) -> str:
    """The slug of a link that the client may read."""
    link = await links.store.read(slug)
    if link is None:
        raise Problem(404, "There is no such link.")
    check_owner(link, reader)
    return slug


@router.get("/{slug}/clicks/events", response_class=EventSourceResponse, responses=problems(401, 403, 404))
async def follow_clicks(
    slug: Annotated[str, Depends(own_slug)], links: LinksDep, last: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """Follow the clicks on one of your links. Needs the scope links:read.

    An event of the type clicks says how many have come, one of the type missed that some were not told: read them anew.
    """
    async for event in of_feed(links.live, last):
        if event.event == MISSED:
            yield event
        elif clicks := json.loads(event.raw_data or "{}").get(slug):
            yield ServerSentEvent(data={"slug": slug, "clicks": clicks}, event=CLICKS, id=event.id)
