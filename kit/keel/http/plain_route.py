"""Routes that are in FastAPI's schema, and whose endpoint gets the request as it came."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class PlainRoute(APIRoute):
    """The endpoint is `async (Request) -> Response`; what else is declared is for the schema.

    FastAPI's own way to an endpoint, by its dependencies and the model of its answer, takes as long as all the rest of
    a small request. Add such a route to the application itself, where `keel.http.faults` finds it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler
