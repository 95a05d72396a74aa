"""Routers of the API."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

from keel.http.head_first import HeadFirstRoute

F = TypeVar("F", bound=Callable[..., Any])


def api_router(prefix: str, tag: str) -> APIRouter:
    """A router whose routes check the token before the body, and whose operations are named after their functions."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=HeadFirstRoute,
        generate_unique_id_function=lambda route: route.name,
    )


def get(router: APIRouter, path: str, **options: Any) -> Callable[[F], F]:
    """A route for GET and one for HEAD, which FastAPI does not add; the schema shows the first, as `options` say."""

    def register(endpoint: F) -> F:
        router.add_api_route(path, endpoint, methods=["GET"], **options)
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
        return endpoint

    return register
