"""FastAPI without the parts of its middleware that the kit replaces."""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from keel.compat.fastapi import REPLACED_MIDDLEWARE
from keel.errors.problems import ErrorMiddleware


class Application(FastAPI):
    """FastAPI with ErrorMiddleware as the outermost layer, and without the layers of REPLACED_MIDDLEWARE."""

    def build_middleware_stack(self) -> ASGIApp:
        outermost = ErrorMiddleware(super().build_middleware_stack())
        layer: Any = outermost
        while layer is not self.router:
            layer.app = _without_replaced(layer.app)
            layer = layer.app
        return outermost


def _without_replaced(layer: Any) -> Any:
    while type(layer).__name__ in REPLACED_MIDDLEWARE:
        layer = layer.app
    return layer
