"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), on FastAPI's own.

A route is a generator with `response_class=EventSourceResponse` of `fastapi.sse`. FastAPI frames what it yields, sends
a comment after every 15 seconds of silence, so that no proxy takes the connection for dead, and tells proxies neither
to buffer nor to store. keel.http.streams ends the stream in the drain. Here is what is missing: where a client goes on.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from keel.data.feed import Feed

__all__ = ["EventSourceResponse", "LastEventId", "ServerSentEvent", "of_feed"]

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=64, description="The id of the last event that the client has seen."),
]
"""The id of the last event that a client has seen, which browsers send when they come back."""


async def of_feed(feed: Feed, after: str | None) -> AsyncIterator[ServerSentEvent]:
    """The events of a feed, after the one with the id `after`, or from now on.

    To one that begins now, its place is told first, as an id alone: browsers keep it and call nobody, so that a client
    that has not yet heard of anything comes back without a gap, too.

    An event of the type "missed" says that what came after `after` is not kept any more: the page loads anew what it
    shows. The stream of a client that does not keep up ends; it comes back, and goes on after what it has seen.
    """
    async with feed.subscribe(after) as entries:
        if after is None and feed.position is not None:
            yield ServerSentEvent(id=feed.position)
        async for entry in entries:
            yield ServerSentEvent(raw_data=entry.data, event=entry.event, id=entry.id or None)
