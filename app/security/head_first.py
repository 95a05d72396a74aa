"""Routes that answer from the head of a request what the head decides, and only then wait for its body.

FastAPI reads the body first, before it looks at dependencies: who may not send one would be waited for all the same.
"""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import SecurityScopes

from app.http.json_body import is_json, not_json
from app.http.protocol import announces_body
from app.security.auth import authenticate


class HeadFirstRoute(APIRoute):
    """Refuses a missing or unfit token (401, 403) and a body that is not JSON (415) before the body has come."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        needed = [SecurityScopes(scopes) for scopes in _needed_scopes(self.dependant)]

        async def handle_from_the_head(request: Request) -> Response:
            for scopes in needed:
                await authenticate(request, scopes)
            has_body = any(map(announces_body, request.scope["headers"]))
            if has_body and not is_json(request.headers.get("content-type", "")):
                raise not_json()
            return await handle(request)

        return handle_from_the_head


def _needed_scopes(dependant: Dependant) -> Iterator[list[str]]:
    """Of each `Security(authenticate, scopes=[...])` among the dependencies."""
    for each in dependant.dependencies:
        if each.call is authenticate:
            yield [*(each.parent_oauth_scopes or []), *(each.own_oauth_scopes or [])]
        yield from _needed_scopes(each)
