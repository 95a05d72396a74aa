"""Errors, delay and a blocked event loop on demand, to prove alerts, dashboards and clients with.

Only where APP_FAULTS_ENABLED is on, and set through the management port alone; elsewhere nothing of this is in a
request's path. A fault happens within the route, after it was chosen and before it does anything (but for what the head
of a request with a body decides, keel.http.head_first): so it is logged, counted, traced and answered as one of the
route's own, and nothing is written that the client is told has failed.
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
# Of the event loop's lag the longest of the last minute is shown: so it shows for as long as the fault lasts.
BLOCK_EVERY = 30
ANSWER_FIRST = 0.1  # seconds between the answer to who asked for a block, and the first one

log = structlog.get_logger("keel.http.faults")


class InjectedError(Exception):
    """Nothing is wrong but what was asked for."""


class Fault(BaseModel):
    """What shall go wrong, and for how long. Validate with the context `routes`: the templates there are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    error_ratio: float = Field(default=0, ge=0, le=1)
    """Share of requests answered with a 500."""
    delay_seconds: float = Field(default=0, ge=0, le=30)
    """Added to each request."""
    block_seconds: float = Field(default=0, ge=0, le=10)
    """How long the event loop stands still, once every BLOCK_EVERY seconds: probes and metrics too."""
    routes: list[str] = Field(default_factory=list)
    """Templates of the routes with errors and delay, such as /{slug}; none for all."""
    for_seconds: float = Field(default=600, gt=0, le=3600)
    """When it is over by itself."""

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
    """The fault of this process, if there is one."""

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
        """Reach the routes that `dependency` does not, as they have none; after all of them were added."""
        self._templates = lambda: sorted(app.openapi()["paths"])
        for route in app.router.routes:
            if isinstance(route, Route) and (isinstance(route, PlainRoute) or not isinstance(route, APIRoute)):
                route.app = _Faulty(route.app, self)

    @property
    def templates(self) -> list[str]:
        """Of the routes that can be named."""
        return self._templates()

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._ends - asyncio.get_running_loop().time()) if self.fault else 0.0

    def begin(self, fault: Fault) -> None:
        """In place of the one there is."""
        loop = asyncio.get_running_loop()
        self._cancel_timers()
        self.fault = fault
        self._ends = loop.time() + fault.for_seconds
        self._timers = [loop.call_at(self._ends, self.end, "its time is up")]
        if fault.block_seconds:
            self._timers.append(loop.call_later(ANSWER_FIRST, self._block, loop, fault.block_seconds))
        log.warning("faults are injected on demand", **fault.model_dump())

    def end(self, reason: str) -> None:
        """Also if there is none."""
        self._cancel_timers()
        if self.fault is not None:
            self.fault = None
            log.warning("no more faults are injected", reason=reason)

    async def dependency(self, request: Request) -> None:
        """For all routes of FastAPI's that have dependencies."""
        await self.inject(request.scope)

    async def inject(self, scope: Scope) -> None:
        """Raises:
        InjectedError: as often as was asked for.
        """
        fault = self.fault
        if fault is None or (fault.routes and route_template.template(scope) not in fault.routes):
            return
        if fault.delay_seconds:
            self._injected.labels("delay").inc()
            await asyncio.sleep(fault.delay_seconds)
        if random.random() < fault.error_ratio:  # noqa: S311
            self._injected.labels("error").inc()
            raise InjectedError("This error was asked for, through the management port.")

    def _block(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._timers[1:] = [loop.call_later(BLOCK_EVERY, self._block, loop, seconds)]
        self._injected.labels("block").inc()
        time.sleep(seconds)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []


class _Faulty:
    """A plain endpoint with faults."""

    def __init__(self, endpoint: ASGIApp, faults: Faults) -> None:
        self.endpoint = endpoint
        self.faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.faults.inject(scope)
        await self.endpoint(scope, receive, send)
