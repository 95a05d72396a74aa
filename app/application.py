"""FastAPI without those parts of its middleware that ours stand in for."""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

# By name, as FastAPI keeps them to itself: the limit on bodies (app.body_limit), and the telemetry of
# exceptions, of which app.problems leaves none to see.
SUPERFLUOUS = {"ExceptionTelemetryMiddleware", "AppBodyLimitMiddleware"}


class Application(FastAPI):
    """Every request is spared two coroutines, and as much time as some of our limits take."""

    def build_middleware_stack(self) -> ASGIApp:
        outermost: Any = super().build_middleware_stack()  # Starlette's answer to an error in other middleware
        while type(outermost.app).__name__ in SUPERFLUOUS:
            outermost.app = outermost.app.app
        found: ASGIApp = outermost
        return found
