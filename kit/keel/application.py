"""FastAPI without the parts of its middleware that the kit replaces."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from keel.compat.fastapi import REPLACED_MIDDLEWARE
from keel.errors.problems import ErrorMiddleware


class Application(FastAPI):
    """FastAPI with ErrorMiddleware as the outermost layer, and without the layers of REPLACED_MIDDLEWARE.

    Beside that, WebSockets have `websockets` as a layer of their own; the others let them pass.
    """

    websockets: Callable[[ASGIApp], ASGIApp] | None = None

    def build_middleware_stack(self) -> ASGIApp:
        outermost = ErrorMiddleware(super().build_middleware_stack())
        layer: Any = outermost
        while layer is not self.router:
            layer.app = _without_replaced(layer.app)
            layer = layer.app
        outermost.others = self.websockets(outermost.app) if self.websockets else outermost.app
        return outermost


def _without_replaced(layer: Any) -> Any:
    while type(layer).__name__ in REPLACED_MIDDLEWARE:
        layer = layer.app
    return layer
