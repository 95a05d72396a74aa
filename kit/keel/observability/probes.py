"""What the probes answer from: kept in memory, so that no probe ever waits on a dependency."""

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
    """What is checked is there, and is not what is needed. The message says why, and is what readiness tells."""


class Health:
    """State of the process: started, draining, and the last result of each dependency's check.

    A check passes by returning and fails by raising or by taking longer than `timeout` seconds. The process is not
    ready before each check but those of `optional` has passed once. From then on one that fails is reported, and the
    process stays ready: all pods share what is checked, and would all leave at once, with what they can still answer.
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
        self._gates = set(checks)  # what has to pass once before requests may come
        self._checks = checks = {**checks, **(optional or {})}
        self._interval = interval
        self._timeout = timeout
        self._results = dict.fromkeys(checks, "not checked yet")
        self._checked_at = monotonic()
        up = Gauge(
            "dependency_up", "1 while its last check passed.", ["dependency"], registry=registry or CollectorRegistry()
        )
        for name in checks:
            up.labels(name).set_function(partial(self._passes, name))

    def startup(self) -> dict[str, str]:
        """Reports why it has not started, by name of the check; "ok" where it has."""
        return {"startup": OK if self.started else "still starting"}

    @property
    def ready(self) -> bool:
        """Whether requests may come."""
        return self.started and not self.draining and not self._gates

    def readiness(self) -> dict[str, str]:
        """Reports what is not as it should be, by name of the check; "ok" where it is."""
        stale = monotonic() - self._checked_at > 3 * (self._interval + self._timeout)
        results = dict.fromkeys(self._checks, "no recent check") if stale else self._results
        return {**self.startup(), "drain": "draining" if self.draining else OK, **results}

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Run the checks, at once and then every `interval` seconds, while inside."""
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
