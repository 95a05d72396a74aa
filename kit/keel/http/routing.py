"""Makes the routers and the GET routes of an API."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

from keel.http.head_first import HeadFirstRoute

F = TypeVar("F", bound=Callable[..., Any])


def api_router(prefix: str, tag: str) -> APIRouter:
    """A router whose routes check the head before they read the body. Operation ids are the functions' names."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=HeadFirstRoute,
        generate_unique_id_function=lambda route: route.name,
    )


def get(router: APIRouter, path: str, **options: Any) -> Callable[[F], F]:
    """Add a GET route, and a HEAD route, which FastAPI does not add by itself. Only the GET route is in the schema."""

    def register(endpoint: F) -> F:
        router.add_api_route(path, endpoint, methods=["GET"], **options)
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        return endpoint

    return register
