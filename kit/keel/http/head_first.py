"""Routes that check the head of a request before they wait for its body.

FastAPI reads the body before it runs dependencies. It would wait for the body of a client that is not even allowed to
send one.
"""

import inspect
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes
from starlette.datastructures import Headers

from keel.errors.problems import Problem
from keel.http.json_body import is_json, not_json
from keel.http.protocol import announces_body
from keel.http.streams import closed_at_the_end
from keel.security.auth import authenticate

ONCE = ("Content-Type", "Content-Encoding", "Idempotency-Key")
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class HeadFirstRoute(APIRoute):
    """Refuses a request by its head: without a sufficient token (401, 403), with a repeated header (400), with a body
    that is neither JSON nor, where the route takes one, a form (415)."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if inspect.isasyncgenfunction(endpoint):
            endpoint = closed_at_the_end(endpoint)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        check = check_form_head if isinstance(self.body_field.field_info, params.Form) else check_head
        needed = [SecurityScopes(scopes) for scopes in _needed_scopes(self.dependant)]

        async def handle_from_the_head(request: Request) -> Response:
            for scopes in needed:
                await authenticate(request, scopes)
            if any(map(announces_body, request.scope["headers"])):
                check(request.headers)
            return await handle(request)

        return handle_from_the_head


def check_head(headers: Headers) -> None:
    """Check the head of a request with a body.

    Raises:
        Problem: 400 if a header is repeated, 415 if the body is not JSON.
    """
    check_plain(headers)
    if not is_json(headers.get("content-type", "")):
        raise not_json()


def check_form_head(headers: Headers) -> None:
    """Check the head of a request with a form.

    Raises:
        Problem: 400 if a header is repeated, 415 if the body is not a form.
    """
    check_plain(headers)
    if headers.get("content-type", "").partition(";")[0].strip().lower() not in FORMS:
        raise Problem(415, f"Send the body as {FORMS[0]}.", {"Accept": ", ".join(FORMS)})


def check_plain(headers: Headers) -> None:
    """Check what is common to all bodies.

    Raises:
        Problem: 400 if a header is repeated, 415 if the body has a Content-Encoding.
    """
    for name in ONCE:
        if len(headers.getlist(name)) > 1:
            raise Problem(400, f"Send only one {name} header.")
    if headers.get("content-encoding", "identity").lower() != "identity":  # RFC 9110, section 15.5.16
        detail = "Send the body without a Content-Encoding."
        raise Problem(415, detail, {"Accept-Encoding": "identity"})


def _needed_scopes(dependant: Dependant) -> Iterator[list[str]]:
    """The scopes of each `Security(authenticate, scopes=[...])` among the dependencies."""
    for each in dependant.dependencies:
        if each.call is authenticate:
            yield [*(each.parent_oauth_scopes or []), *(each.own_oauth_scopes or [])]
        yield from _needed_scopes(each)
