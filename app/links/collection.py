"""/api/v1/links: make links, and list them."""

import hashlib
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Header, Query, Request, Response
from pydantic import AfterValidator, Field
from starlette.datastructures import QueryParams

from app.links import responses, slugs
from app.links.dependencies import ADMIN, Links, LinksDep, Reader, Writer
from app.links.models import Link
from app.links.openapi import CREATED, NEXT
from app.links.schemas import LinkOut, LinkPage, ListedLink, NewLink
from app.links.store import SlugTakenError
from app.links.validation import accept
from keel.data.async_engine import AsyncConnection
from keel.errors.problems import FieldError, Problem, invalid
from keel.http import cursors, routing
from keel.http.openapi import KEY_DESCRIPTION, problems
from keel.idempotency import MAX_KEY_CHARACTERS, AlreadyAnsweredError, KeyedRequest, KeyReusedError
from keel.security.auth import MAX_SUBJECT_CHARACTERS

MAX_PAGE = 100

router = routing.api_router("/links", "links")


def _subject(text: str) -> str:
    if not text.isprintable():  # as for tokens (keel.security.tokens); PostgreSQL refuses some of the others
        raise ValueError("The subject has unprintable characters.")
    return text


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        pattern="^[ -~]+$",
        description=KEY_DESCRIPTION,
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Maximum number of links on the page.")]
Cursor = Annotated[
    Annotated[str, Field(json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"})] | None,
    Query(max_length=cursors.MAX_CHARACTERS, description="next_cursor of the previous page."),
]
Owner = Annotated[
    Annotated[str, AfterValidator(_subject)] | None,
    Query(
        min_length=1,
        max_length=MAX_SUBJECT_CHARACTERS,
        description=f"Whose links to list; your own if left out. Others' links need the scope {ADMIN}.",
    ),
]


@router.post(
    "",
    status_code=201,
    response_model=LinkOut,
    responses={
        201: {"description": "The link was made, now or by an earlier request with the same key.", "headers": CREATED},
        **problems(401, 403, 409),
    },
)
async def create_link(new: NewLink, writer: Writer, links: LinksDep, key: Key = None) -> Response:
    """Make a short link. Needs the scope links:write."""
    if key is None:
        return responses.created(await _create(new, writer.subject, links))
    # Of the body as it was sent: a repeated request is recognised even if its body would no longer be valid.
    fingerprint = hashlib.sha256(new.model_dump_json(exclude_unset=True).encode()).hexdigest()
    request = KeyedRequest(writer.subject, key, fingerprint)
    try:
        if kept := await links.keys.answer(request):
            return responses.created(kept, replayed=True)
        try:
            return responses.created(await _create(new, writer.subject, links, request))
        except AlreadyAnsweredError as error:
            if kept := await links.keys.answer(request):
                return responses.created(kept, replayed=True)
            raise Problem(409, "This Idempotency-Key has just expired. Use another one.") from error
    except KeyReusedError as error:
        detail = "This key was used with a different body before. Use a new key for a new link."
        raise invalid(FieldError(detail=detail, parameter="Idempotency-Key")) from error


async def _create(new: NewLink, owner: str, links: Links, request: KeyedRequest | None = None) -> str:
    """Make the link and return the response as text, which is stored if the request has a key.

    The response is stored in the same transaction as the link, so both or neither exist.
    """
    values = accept(new, links.urls)

    async def keep(connection: AsyncConnection, link: Link) -> None:
        if request is not None:
            await links.keys.keep(connection, request, responses.creation(link, links))

    try:
        link = await links.store.create(**values, owner=owner, also=keep if request else None)
    except SlugTakenError as error:
        raise Problem(409, f"The slug {new.slug} is taken. Choose another one.") from error
    links.metrics.created.inc()
    return responses.creation(link, links)


@routing.get(
    router,
    "",
    response_model=LinkPage,
    responses={200: {"description": "A page of links.", "headers": NEXT}, **problems(401, 403, 422)},
)
async def list_links(
    request: Request,
    reader: Reader,
    links: LinksDep,
    limit: Limit = 20,
    cursor: Cursor = None,
    owner: Owner = None,
) -> Response:
    """List your links, newest first. Needs the scope links:read."""
    _check_once(request.query_params)
    if owner not in (None, reader.subject) and ADMIN not in reader.scopes:
        raise Problem(403, f"These links belong to someone else. Access needs the scope {ADMIN}.")
    found = await links.store.page(owner or reader.subject, limit + 1, _position(cursor))
    page, more = found[:limit], found[limit:]
    following = cursors.encode(cursors.Position(page[-1][0].created_at, page[-1][0].slug)) if more else None
    items = [ListedLink.of(link, links.short_url(link.slug), clicks=clicks) for link, clicks in page]
    headers = {}
    if following:
        query = urlencode({"limit": limit, **({"owner": owner} if owner else {}), "cursor": following})
        headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
    return responses.of(LinkPage(items=items, next_cursor=following), headers)


def _check_once(query: QueryParams) -> None:
    """Refuse a query that gives a parameter twice, as it is unclear which one is meant.

    Raises:
        Problem: 422, naming each such parameter.
    """
    twice = [name for name in ("limit", "cursor", "owner") if len(query.getlist(name)) > 1]
    if twice:
        raise invalid(*(FieldError(detail="Give this parameter once.", parameter=name) for name in twice))


def _position(cursor: str | None) -> cursors.Position | None:
    try:
        return None if cursor is None else cursors.decode(cursor, slugs.is_valid)
    except ValueError as error:
        raise invalid(FieldError(detail=str(error), parameter="cursor")) from error
