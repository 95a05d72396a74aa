"""HTTP interface of the links: an API to make them, and the redirects."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.responses import RedirectResponse

from app.auth import Principal, authenticate
from app.links import slugs, urls
from app.links.metrics import LinkMetrics
from app.links.schemas import LinkOut, NewLink
from app.links.store import LinkStore, SlugTakenError
from app.problems import FieldError, Problem, documented


@dataclass(frozen=True, slots=True)
class Links:
    """What the routes need; app.main puts it into `app.state.links`."""

    store: LinkStore
    metrics: LinkMetrics
    public_url: str

    def short_url(self, slug: str) -> str:
        return f"{self.public_url}/{slug}"


def get_links(request: Request) -> Links:
    links: Links = request.app.state.links
    return links


Service = Annotated[Links, Depends(get_links)]
Writer = Annotated[Principal, Security(authenticate, scopes=["links:write"])]

api = APIRouter(prefix="/links", tags=["links"])
redirects = APIRouter(tags=["redirects"])


@api.post("", status_code=201, responses=documented(400, 401, 403, 409, 413, 415, 422, 503))
async def create_link(new: NewLink, writer: Writer, links: Service, response: Response) -> LinkOut:
    """Make a short link. Needs the scope links:write."""
    try:
        url = urls.normalise(new.url, links.public_url)
    except ValueError as error:
        raise Problem(
            422,
            "The request is not valid: see errors.",
            errors=[FieldError(detail=str(error), pointer="#/url")],
        ) from error
    try:
        link = await links.store.create(url, writer.subject, new.slug)
    except SlugTakenError as error:
        raise Problem(409, f"The slug {new.slug} is taken. Choose another one.") from error
    links.metrics.created.inc()
    short_url = links.short_url(link.slug)
    response.headers["Location"] = short_url
    return LinkOut(slug=link.slug, url=link.url, short_url=short_url, created_at=link.created_at)


# Two routes for the reason given in app/identity.py.
@redirects.get(
    "/{slug}",
    status_code=307,
    response_class=RedirectResponse,
    responses={307: {"description": "The link's target is in Location."}, **documented(404, 503)},
)
@redirects.api_route("/{slug}", methods=["GET", "HEAD"], include_in_schema=False)
async def follow_link(slug: str, links: Service) -> RedirectResponse:
    """Follow a short link."""
    target = await links.store.target(slug) if slugs.is_valid(slug) else None
    if target is None:
        raise Problem(404, "There is no such link.")
    links.metrics.followed.inc()
    # Other sites may show what a link leads to, such as an image.
    return RedirectResponse(target, headers={"Cross-Origin-Resource-Policy": "cross-origin"})
