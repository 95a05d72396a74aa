"""Routes that are in FastAPI's schema, but call their endpoint directly, without dependencies or models."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute


class PlainRoute(APIRoute):
    """The endpoint is `async (Request) -> Response`. Everything else that is declared is only for the schema.

    FastAPI's handling of dependencies and response models takes as long as all the rest of a small request. Add such a
    route to the application itself, where `keel.http.faults` finds it.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler
