"""Follow the clicks on a link as they come: by server-sent events, or by a WebSocket.

The clicks of all links are one feed, which each pod tells of what it has written; each client hears of its own link.
"""

import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, WebSocket

from app.links.dependencies import LinksDep, Reader, check_owner
from app.links.openapi import Slug
from keel.data.feed import Feed
from keel.errors.problems import Problem
from keel.http import routing
from keel.http.events import EventSourceResponse, LastEventId, ServerSentEvent, of_feed
from keel.http.openapi import problems

KEPT = 100  # events for clients that come back; each may name BATCH links
CLICKS = "clicks"
TELL_SECONDS = 3.0  # to try, while Valkey does not answer
PLACE_SECONDS = 5.0  # after so long with clicks on other links alone, a client is told how far the feed is

router = routing.api_router("/links", "links")


async def tell(feed: Feed, clicks: dict[str, int]) -> None:
    """Tell of clicks by slug."""
    await feed.publish(json.dumps(clicks), CLICKS, seconds=TELL_SECONDS)


# A dependency: what a generator raises comes after the head of its response.
async def own_slug(slug: Slug, reader: Reader, links: LinksDep) -> str:
    """The slug of a link that the client may read."""
    link = await links.store.read(slug)
    if link is None:
        raise Problem(404, "There is no such link.")
    check_owner(link, reader)
    return slug


OwnSlug = Annotated[str, Depends(own_slug)]


@router.get("/{slug}/clicks/events", response_class=EventSourceResponse, responses=problems(401, 403, 404))
async def follow_clicks(slug: OwnSlug, links: LinksDep, last: LastEventId = None) -> AsyncIterator[ServerSentEvent]:
    """Follow the clicks on one of your links. Needs the scope links:read.

    An event of the type clicks says how many have come, one of the type missed that some were not told: read them anew.
    """
    async for event in _clicks(slug, links.live, last):
        yield event


@router.websocket("/{slug}/clicks/live")
async def talk_of_clicks(
    websocket: WebSocket, slug: OwnSlug, links: LinksDep, after: Annotated[str | None, Query(max_length=64)] = None
) -> None:
    """The same events, each a message of JSON: {"event", "id", "data"}. Come back with the last id as `after`.

    One without an event has only the id.
    """
    await websocket.accept()
    async with contextlib.aclosing(_clicks(slug, links.live, after)) as events:
        async for event in events:
            await websocket.send_json({"event": event.event, "id": event.id, "data": event.data})


async def _clicks(slug: str, feed: Feed, after: str | None) -> AsyncGenerator[ServerSentEvent]:
    told = time.monotonic()
    async for event in of_feed(feed, after):
        found = event
        if event.event == CLICKS:
            clicks = json.loads(event.raw_data or "{}").get(slug)
            if not clicks and time.monotonic() - told < PLACE_SECONDS:
                continue
            found = ServerSentEvent(id=event.id)
            if clicks:
                found = ServerSentEvent(id=event.id, event=CLICKS, data={"slug": slug, "clicks": clicks})
        yield found
        told = time.monotonic()
