"""Injects errors, delays and a blocked event loop on demand, to test alerts, dashboards and clients.

Faults need APP_FAULTS_ENABLED, and are set through the management port. Without the setting, no request runs this code.
A fault happens in the route, before the route does anything except what keel.http.head_first checks. So it is logged,
counted, traced and answered like the route's own failure, and a request that fails has written nothing.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from typing import Self

import structlog
from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.http.plain_route import PlainRoute
from keel.observability import route_template

KINDS = ("error", "delay", "block")
# Seconds. event_loop_lag_max_seconds shows the longest lag of the last minute, so it shows the fault as long as it
# lasts.
BLOCK_EVERY = 30
ANSWER_FIRST = 0.1  # seconds from the response to the PUT until the first block

log = structlog.get_logger("keel.http.faults")


class InjectedError(Exception):
    """An error that was injected on demand."""


class Fault(BaseModel):
    """What to inject, and for how long. Validate it with the context `routes`: the templates of all routes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    error_ratio: float = Field(default=0, ge=0, le=1)
    """Share of requests that fail with a 500."""
    delay_seconds: float = Field(default=0, ge=0, le=30)
    """Added to each request."""
    block_seconds: float = Field(default=0, ge=0, le=10)
    """How long the event loop is blocked, every BLOCK_EVERY seconds. Probes and metrics are blocked too."""
    routes: list[str] = Field(default_factory=list)
    """Templates of the routes with errors and delay, such as /{slug}; empty for all routes."""
    for_seconds: float = Field(default=600, gt=0, le=3600)
    """When the fault ends by itself."""

    @field_validator("routes")
    @classmethod
    def _known(cls, value: list[str], info: ValidationInfo) -> list[str]:
        known: Collection[str] = info.context["routes"] if info.context else value
        if unknown := sorted(set(value).difference(known)):
            raise ValueError(f"There is no route {unknown[0]}: the routes are {', '.join(known)}.")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.error_ratio or self.delay_seconds or self.block_seconds):
            raise ValueError("Set error_ratio, delay_seconds or block_seconds to more than 0, or send DELETE.")
        return self


class Faults:
    """The fault that this process injects, if any."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.fault: Fault | None = None
        self._ends = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._templates: Callable[[], list[str]] = list
        gauge = Gauge("faults_active", "1 while faults are injected on demand.", registry=registry)
        gauge.set_function(lambda: self.fault is not None)
        self._injected = Counter("faults_injected", "Faults injected on demand.", ["kind"], registry=registry)
        for kind in KINDS:
            self._injected.labels(kind)

    def install(self, app: FastAPI) -> None:
        """Wrap the routes that have no dependencies, so not `dependency` either. Call this after adding all routes."""
        self._templates = lambda: sorted(app.openapi()["paths"])
        for route in app.router.routes:
            if isinstance(route, Route) and (isinstance(route, PlainRoute) or not isinstance(route, APIRoute)):
                route.app = _Faulty(route.app, self)

    @property
    def templates(self) -> list[str]:
        """The templates that a fault may name."""
        return self._templates()

    @property
    def seconds_left(self) -> float:
        """How long the fault lasts still; 0 without one."""
        return max(0.0, self._ends - asyncio.get_running_loop().time()) if self.fault else 0.0

    def begin(self, fault: Fault) -> None:
        """Inject `fault`, in place of the one before."""
        loop = asyncio.get_running_loop()
        self._cancel_timers()
        self.fault = fault
        self._ends = loop.time() + fault.for_seconds
        self._timers = [loop.call_at(self._ends, self.end, "its time is up")]
        if fault.block_seconds:
            self._timers.append(loop.call_later(ANSWER_FIRST, self._block, loop, fault.block_seconds))
        log.warning("faults are injected on demand", **fault.model_dump())

    def end(self, reason: str) -> None:
        """End the fault, if there is one."""
        self._cancel_timers()
        if self.fault is not None:
            self.fault = None
            log.warning("no more faults are injected", reason=reason)

    async def dependency(self, request: Request) -> None:
        """The dependency that injects the fault into FastAPI's routes."""
        await self.inject(request.scope)

    async def inject(self, scope: Scope) -> None:
        """Delay a request, or fail it, as the fault says.

        Raises:
            InjectedError: for the share `error_ratio` of requests.
        """
        fault = self.fault
        if fault is None or (fault.routes and route_template.template(scope) not in fault.routes):
            return
        if fault.delay_seconds:
            self._injected.labels("delay").inc()
            await asyncio.sleep(fault.delay_seconds)
        if random.random() < fault.error_ratio:  # noqa: S311
            self._injected.labels("error").inc()
            raise InjectedError("This error was injected on demand, through the management port.")

    def _block(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._timers[1:] = [loop.call_later(BLOCK_EVERY, self._block, loop, seconds)]
        self._injected.labels("block").inc()
        time.sleep(seconds)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []


class _Faulty:
    """An ASGI endpoint with the fault before it."""

    def __init__(self, endpoint: ASGIApp, faults: Faults) -> None:
        self.endpoint = endpoint
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.faults.inject(scope)
        await self.endpoint(scope, receive, send)
