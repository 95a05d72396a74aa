"""Limits that a route declares for itself, in place of those of all routes.

An upload takes longer and is larger than any other request. To raise APP_REQUEST_TIMEOUT_SECONDS and APP_MAX_BODY_BYTES
for it would raise them for every route.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.routing import Mount, Route
from starlette.types import Scope

from keel.compat.fastapi import iter_route_contexts
from keel.compat.starlette import get_route_path

F = TypeVar("F", bound=Callable[..., Any])

KIB = 1024
MIB = 1024 * KIB

SCOPE_KEY = "keel.route_limits"
"""Key in the scope of a request to a route that has limits of its own; the value is a RouteLimits."""
_ATTRIBUTE = "__keel_limits__"


@dataclass(frozen=True)
class Limits:
    """What an endpoint has declared. None means the limit of all routes."""

    seconds: float | None = None
    max_body_bytes: int | None = None
    max_concurrent: int | None = None

    def mistakes(self) -> Iterator[str]:
        """A sentence for each value that makes no sense."""
        seconds = self.seconds
        if seconds is not None and (not _is_number(seconds, int, float) or not isfinite(seconds) or seconds <= 0):
            yield f"seconds must be a number of seconds above 0, and is {seconds!r}."
        for name in ("max_body_bytes", "max_concurrent"):
            value = getattr(self, name)
            if value is not None and (not _is_number(value, int) or value < 1):
                yield f"{name} must be a whole number above 0, and is {value!r}."
        if self == Limits():
            yield "it sets no limit: name seconds, max_body_bytes or max_concurrent."


def limits(
    *, seconds: float | None = None, max_body_bytes: int | None = None, max_concurrent: int | None = None
) -> Callable[[F], F]:
    """Give the route of an endpoint limits of its own. It may stand above or below the router's decorator.

    Args:
        seconds: longest time from the head to the response, instead of APP_REQUEST_TIMEOUT_SECONDS.
        max_body_bytes: largest body, instead of APP_MAX_BODY_BYTES.
        max_concurrent: most requests at the same time in one process, from the head to the end of the response, so
            with the time in which their bodies arrive. More get 503 at once. APP_MAX_CONCURRENT_REQUESTS holds too.

    All routes of an endpoint share `max_concurrent`. A mistake is found when the service is built.
    """
    declared = Limits(seconds, max_body_bytes, max_concurrent)

    def declare(endpoint: F) -> F:
        setattr(endpoint, _ATTRIBUTE, declared)
        return endpoint

    return declare


class RouteLimits:
    """The limits of an endpoint, and how many requests it is answering."""

    __slots__ = ("declared", "running")

    def __init__(self, declared: Limits) -> None:
        self.declared = declared
        self.running = 0

    @property
    def is_full(self) -> bool:
        """Whether one more request would be too much."""
        return self.declared.max_concurrent is not None and self.running >= self.declared.max_concurrent


@dataclass(frozen=True)
class _Route:
    path: re.Pattern[str]
    methods: frozenset[str]  # empty for any
    limits: RouteLimits | None

    def matches(self, path: str, method: str) -> bool:
        return (not self.methods or method in self.methods) and self.path.match(path) is not None


class LimitedRoutes:
    """Finds the limits of the route that will answer a request. Falsy if no route has any."""

    def __init__(self) -> None:
        self.declared: dict[tuple[str, str], Limits] = {}
        """By method and path template, for the OpenAPI document."""
        self._limited: list[_Route] = []
        self._routes: list[_Route] = []  # as the application has them, up to the last limited one

    def __bool__(self) -> bool:
        return bool(self._limited)

    def collect(self, app: FastAPI) -> None:
        """Note the limits of all routes of `app`. Call this when they have all been added.

        Raises:
            ValueError: limits that make no sense, or are declared in a mounted application, where they have no effect.
        """
        states: dict[int, RouteLimits] = {}
        routes: list[_Route] = []
        for context in iter_route_contexts(app.routes):
            route = context.original_route
            if isinstance(route, Mount):
                _refuse_mounted(route)
            elif not isinstance(route, Route):  # of WebSockets, or asked after all others
                continue
            methods = frozenset(context.methods or ())
            declared: Limits | None = getattr(context.endpoint, _ATTRIBUTE, None)
            state = None
            if declared is not None:
                for mistake in declared.mistakes():
                    raise ValueError(f"The limits of {' '.join(sorted(methods))} {context.path}: {mistake}")
                state = states.setdefault(id(declared), RouteLimits(declared))
                self.declared |= {(method, str(context.path_format)): declared for method in methods}
            routes.append(_Route(context.path_regex, methods, state))
        self._limited = [route for route in routes if route.limits]
        last = max((number for number, route in enumerate(routes) if route.limits), default=-1)
        self._routes = routes[: last + 1]

    def find(self, scope: Scope) -> RouteLimits | None:
        """The limits of the first route that matches a request; None if it has none of its own."""
        path, method = get_route_path(scope), scope["method"]
        if not any(route.matches(path, method) for route in self._limited):
            return None
        return next(route.limits for route in self._routes if route.matches(path, method))


def _refuse_mounted(mount: Mount) -> None:
    for context in iter_route_contexts(mount.routes):
        if getattr(context.endpoint, _ATTRIBUTE, None) is not None:
            raise ValueError(
                f"The limits of {mount.path}{context.path} have no effect, as the route is in a mounted application: "
                "add it with include_router."
            )


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)
