"""The template of a route, for metrics and logs: unlike paths, the number of templates does not grow."""

from collections.abc import Iterator

from fastapi import FastAPI
from starlette.routing import WebSocketRoute
from starlette.types import Scope

from keel.compat.fastapi import effective_route, iter_route_contexts

UNMATCHED = "unmatched"


def template(scope: Scope) -> str:
    """The whole path template of the route that handled `scope`, such as /api/v1/orders/{number}.

    In a mounted application it is the template within that application.
    """
    route = effective_route(scope)
    if route is None:
        route = _plain_route(scope)
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return str(path) if path else UNMATCHED


def declared(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and template of each operation in the schema of `app`, of WebSockets, and of what is refused unrouted."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.route, WebSocketRoute):
            yield "GET", str(context.path)  # its handshake (RFC 6455, section 4.1)
        elif context.include_in_schema:
            for method in context.methods or ():
                yield method, str(context.path_format)
    yield from (("GET", UNMATCHED), ("POST", UNMATCHED))


def has_websockets(app: FastAPI) -> bool:
    """Whether the application has routes for WebSockets."""
    return any(isinstance(context.route, WebSocketRoute) for context in iter_route_contexts(app.routes))


def _plain_route(scope: Scope) -> object:
    """The route of Starlette's own, such as that of the OpenAPI document. The scope has only its endpoint."""
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    return next(
        (route for route in getattr(scope.get("app"), "routes", ()) if getattr(route, "endpoint", None) is endpoint),
        None,
    )
