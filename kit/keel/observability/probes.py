"""The state that probes report. It is in memory, so that no probe waits for a dependency."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry, Gauge

log = structlog.get_logger("keel.observability.probes")

Check = Callable[[], Awaitable[object]]
OK = "ok"


class NotFitError(Exception):
    """A dependency answers but is not usable. Readiness reports the message, which says why."""


class Health:
    """The state of the process: started, draining, and the last result of each dependency's check.

    A check passes by returning. It fails by raising, or by taking longer than `timeout` seconds. The process becomes
    ready when each check, except the `optional` ones, has passed once. After that a failing check is only reported, and
    the process stays ready: all pods share the dependency, and all would leave at once although they can still answer
    some requests.
    """

    def __init__(
        self,
        checks: Mapping[str, Check],
        interval: float,
        timeout: float,
        optional: Mapping[str, Check] | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.started = False
        self.draining = False
        self._gates = set(checks)  # the checks that must still pass once before the process is ready
        self._checks = checks = {**checks, **(optional or {})}
        self._interval = interval
        self._timeout = timeout
        self._results = dict.fromkeys(checks, "not checked yet")
        self._checked_at = monotonic()
        up = Gauge(
            "dependency_up",
            "1 while the last check of the dependency passed.",
            ["dependency"],
            registry=registry or CollectorRegistry(),
        )
        for name in checks:
            up.labels(name).set_function(partial(self._passes, name))

    def startup(self) -> dict[str, str]:
        """The result of the start: "ok", or why the process has not started."""
        return {"startup": OK if self.started else "still starting"}

    @property
    def ready(self) -> bool:
        """Whether the process should get requests."""
        return self.started and not self.draining and not self._gates

    def readiness(self) -> dict[str, str]:
        """The result of each check by name: "ok", or what is wrong."""
        stale = monotonic() - self._checked_at > 3 * (self._interval + self._timeout)
        results = dict.fromkeys(self._checks, "no recent check") if stale else self._results
        return {**self.startup(), "drain": "draining" if self.draining else OK, **results}

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Run the checks while inside: at once, and then with pauses of `interval` seconds."""
        stop = asyncio.Event()
        watcher = asyncio.create_task(self._watch(stop))
        try:
            yield
        finally:
            stop.set()
            await watcher

    def _passes(self, name: str) -> bool:
        return self._results[name] == OK

    async def _watch(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            results = await asyncio.gather(*map(self._run, self._checks.items()))
            self._results = dict(results)
            self._gates -= {name for name, result in results if result == OK}
            self._checked_at = monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)

    async def _run(self, named: tuple[str, Check]) -> tuple[str, str]:
        name, check = named
        cause = None
        try:
            async with asyncio.timeout(self._timeout):
                await check()
            result = OK
        except TimeoutError:
            result = f"no answer within {self._timeout:g} s"
        except NotFitError as error:
            result = str(error)
        except Exception as error:
            result, cause = "unreachable", repr(error)
        if result != self._results[name]:
            level = log.info if result == OK else log.warning
            level("dependency check", check=name, result=result, cause=cause)
        return name, result
