"""/api/v1/links/{slug}: read, change and delete one link."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Body, Request, Response

from app.links import responses, slugs
from app.links.dependencies import Links, LinksDep, Reader, Writer, check_owner
from app.links.models import Link
from app.links.openapi import ETAG, IF_MATCH, IF_NONE_MATCH, MERGE_PATCH, NOT_MODIFIED, Slug
from app.links.schemas import ClicksOut, LinkOut, LinkPatch
from app.links.validation import accept
from keel.errors.problems import Problem
from keel.http import etags, routing
from keel.http.openapi import problems
from keel.security.auth import Principal

ATTEMPTS = 10  # an attempt fails only where another change has succeeded
T = TypeVar("T")

router = routing.api_router("/links", "links")


@routing.get(
    router,
    "/{slug}",
    response_model=LinkOut,
    responses={200: {"description": "The link.", "headers": ETAG}, **NOT_MODIFIED, **problems(401, 403, 404, 412)},
    openapi_extra=IF_NONE_MATCH,
)
async def read_link(slug: Slug, reader: Reader, links: LinksDep, request: Request) -> Response:
    """Read one of your links, or anyone's with the scope links:admin. Needs the scope links:read."""
    link = await _find(slug, reader, links)
    answer = responses.one(link, links)
    if _is_known(request, link):
        return Response(status_code=304, headers={name: answer.headers[name] for name in ("etag", "cache-control")})
    return answer


# A resource of its own, so that a click does not change the ETag of the link.
@routing.get(router, "/{slug}/clicks", response_model=ClicksOut, responses=problems(401, 403, 404))
async def read_clicks(slug: Slug, reader: Reader, links: LinksDep) -> Response:
    """Read how often a link was followed. Needs the scope links:read."""
    await _find(slug, reader, links)
    return responses.of(ClicksOut(slug=slug, clicks=await links.store.clicks(slug)))


@router.patch(
    "/{slug}",
    response_model=LinkOut,
    responses={
        200: {"description": "The link as it is now.", "headers": ETAG},
        **problems(401, 403, 404, 409, 412),
    },
    openapi_extra=IF_MATCH,
)
async def change_link(
    slug: Slug,
    patch: Annotated[LinkPatch, Body(media_type=MERGE_PATCH)],
    writer: Writer,
    links: LinksDep,
    request: Request,
) -> Response:
    """Change where a link leads or when it expires. Needs the scope links:write."""
    values = accept(patch, links.urls)

    async def change(link: Link) -> Link | None:
        changes = {name: value for name, value in values.items() if getattr(link, name) != value}
        if not changes:
            return link
        changed = await links.store.update(link, changes)
        if changed is not None:
            links.metrics.changed.inc()
        return changed

    return responses.one(await _retry_on_conflict(slug, writer, links, request, change), links)


@router.delete(
    "/{slug}",
    status_code=204,
    responses={204: {"description": "The link was deleted."}, **problems(401, 403, 404, 409, 412)},
    openapi_extra=IF_MATCH,
)
async def delete_link(slug: Slug, writer: Writer, links: LinksDep, request: Request) -> None:
    """Delete a link and its clicks. For a while only its owner can use its slug again. Needs the scope links:write."""

    async def delete(link: Link) -> bool | None:
        return await links.store.delete(link) or None

    await _retry_on_conflict(slug, writer, links, request, delete)
    links.metrics.deleted.inc()


async def _find(slug: str, principal: Principal, links: Links) -> Link:
    """The link, if there is one that the principal may see; raises the Problem (404 or 403) otherwise."""
    link = await links.store.read(slug) if slugs.is_valid(slug) else None
    if link is None:
        raise Problem(404, "There is no such link.")
    check_owner(link, principal)
    return link


def _is_known(request: Request, link: Link) -> bool:
    """Whether If-None-Match says that the client has this version already; raises 412 if a precondition fails."""
    tag = responses.etag(link)
    failed = etags.failed_precondition(request.method, request.headers, tag)
    if failed == 412:
        detail = "The precondition does not hold. Fetch the link again and retry."
        raise Problem(412, detail, {"ETag": tag})
    return failed is not None


async def _retry_on_conflict(
    slug: str, principal: Principal, links: Links, request: Request, write: Callable[[Link], Awaitable[T | None]]
) -> T:
    """Optimistic concurrency: read, check the preconditions, write.

    If the link has changed since it was read (`write` returns None), start again, at most ATTEMPTS times.
    """
    for _ in range(ATTEMPTS):
        link = await _find(slug, principal, links)
        _is_known(request, link)
        written = await write(link)
        if written is not None:
            return written
    raise Problem(409, "The link is being changed concurrently. Retry.")
