"""The redirects: by far the most frequent requests, and so the shortest path through the service."""

from time import time

from fastapi import APIRouter, FastAPI
from fastapi.responses import RedirectResponse
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from app.links import slugs
from app.links.clicks import ClickCounter
from app.links.metrics import LinkMetrics
from app.links.openapi import TARGET, Slug
from app.links.store import LinkStore
from keel.errors.problems import Problem
from keel.http.openapi import problems

PATH = "/{slug}"
EMPTY = {"type": "http.response.body", "body": b""}
HEADERS = [
    (b"content-length", b"0"),
    # Other sites may embed the target of a link, such as an image.
    (b"cross-origin-resource-policy", b"cross-origin"),
]

router = APIRouter(tags=["redirects"], generate_unique_id_function=lambda route: route.name)


class Redirects:
    """ASGI endpoint of a short link. A GET counts as a click, a HEAD does not."""

    def __init__(self, store: LinkStore, clicks: ClickCounter, metrics: LinkMetrics) -> None:
        self.store = store
        self.clicks = clicks
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        slug = scope["path_params"]["slug"]
        target = await self.store.target(slug) if slugs.is_valid(slug) else None
        if target is None:
            self.metrics.not_found.inc()
            raise Problem(404, "There is no such link.")
        if target.expired(time()):
            self.metrics.expired.inc()
            raise Problem(410, "This link has expired.")
        self.metrics.followed.inc()
        if target.stale:
            self.metrics.stale.inc()
            scope["state"]["stale"] = True
        if scope["method"] == "GET":
            self.clicks.count(slug)
        # The URL was normalised when it was stored: it is ASCII, and safe in a header.
        location = (b"location", target.url.encode("ascii"))
        await send({"type": "http.response.start", "status": 307, "headers": [location, *HEADERS]})
        await send(EMPTY)


class RedirectRoute(Route):
    """Sets scope["route"], as FastAPI's routes do, so that metrics and logs know the template.

    It does not match `except_slugs`.
    """

    def __init__(self, endpoint: Redirects, except_slugs: frozenset[str] = frozenset()) -> None:
        super().__init__(PATH, endpoint, methods=["GET"], include_in_schema=False)
        self.except_slugs = except_slugs

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        if match == Match.NONE or found["path_params"]["slug"] in self.except_slugs:
            return Match.NONE, {}
        found["route"] = self
        return match, found


def install(app: FastAPI, endpoint: Redirects) -> None:
    """Add the redirects to an app that has all its other routes: a redirect matches every path of one segment.

    They come first, because FastAPI takes ten times as long to try all other routes as a redirect takes. Reserved
    names are left to the other routes, and so tried last. A function with FastAPI's decorator would take twice as
    long; `follow_link` is one only for the OpenAPI document.
    """
    app.router.routes.insert(0, RedirectRoute(endpoint, except_slugs=slugs.RESERVED))
    app.router.routes.append(RedirectRoute(endpoint))
    app.include_router(router)


@router.get(
    PATH,
    status_code=307,
    response_class=RedirectResponse,
    responses={307: {"description": "The link's target is in Location.", "headers": TARGET}, **problems(404, 410)},
)
async def follow_link(slug: Slug) -> None:
    """Follow a short link. A GET counts as a click, a HEAD does not."""
