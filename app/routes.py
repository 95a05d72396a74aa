"""Which route answered: its template, so that neither metrics nor logs grow with what clients ask for."""

from starlette.types import Scope

UNMATCHED = "unmatched"


def template(scope: Scope) -> str:
    """The whole path template of the route that handled `scope`, such as /api/v1/links.

    FastAPI includes routers lazily since 0.137: scope["route"] then knows only the path within
    its own router, and the prefix is in the effective route beside it. In a mounted application it
    is the template within that application.
    """
    included = scope.get("fastapi", {}).get("effective_route_context")
    route = getattr(included, "starlette_route", None) or included or scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return str(path) if path else UNMATCHED
