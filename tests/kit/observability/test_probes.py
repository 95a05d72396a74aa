import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from keel.management import create_management
from keel.observability.probes import OK, Health

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Readyz = Callable[[Exception | None, Exception | None], Awaitable[tuple[int, str]]]


class Dependency:
    """Answers, fails or hangs as told, and tells when it has been asked."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = False
        self.asked = asyncio.Queue[None]()

    async def check(self) -> None:
        self.asked.put_nowait(None)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error

    async def rounds(self, health: Health, number: int = 2) -> dict[str, str]:
        """Readiness after so many checks have begun, hence all but the last have ended."""
        while not self.asked.empty():
            self.asked.get_nowait()
        for _ in range(number):
            await self.asked.get()
        return health.readiness()


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


@pytest.fixture
def health(dependency: Dependency, log_lines: Logs) -> Health:
    del log_lines
    health = Health({"database": dependency.check}, interval=0.01, timeout=0.05)
    health.started = True
    return health


async def test_not_ready_before_the_first_check(health: Health) -> None:
    assert health.readiness() == {"startup": OK, "drain": OK, "database": "not checked yet"}


async def test_ready_once_checked(health: Health, dependency: Dependency) -> None:
    async with health.watching():
        assert set((await dependency.rounds(health)).values()) == {OK}


async def test_failure_and_recovery(health: Health, dependency: Dependency, log_lines: Logs) -> None:
    async with health.watching():
        await dependency.rounds(health)
        dependency.error = OSError("no route to 10.0.0.7")
        assert (await dependency.rounds(health, 3))["database"] == "unreachable"
        dependency.error = None
        assert (await dependency.rounds(health, 3))["database"] == OK
    changes = [
        (line["labels.result"], line.get("labels.cause"))
        for line in log_lines()
        if line["message"] == "dependency check"
    ]
    assert changes == [(OK, None), ("unreachable", "OSError('no route to 10.0.0.7')"), (OK, None)]


async def test_a_check_that_hangs_has_failed(health: Health, dependency: Dependency) -> None:
    dependency.hangs = True
    async with health.watching():
        assert (await dependency.rounds(health))["database"] == "no answer within 0.05 s"


async def test_a_metric_tells_which_dependency_is_there(log_lines: Logs) -> None:
    del log_lines
    registry = CollectorRegistry()
    needed, optional = Dependency(), Dependency()
    optional.error = OSError()
    health = Health({"database": needed.check}, 0.01, 0.05, optional={"valkey": optional.check}, registry=registry)

    def up() -> dict[str, float | None]:
        return {
            name: registry.get_sample_value("dependency_up", {"dependency": name}) for name in ("database", "valkey")
        }

    assert up() == {"database": 0, "valkey": 0}  # not checked yet
    async with health.watching():
        await needed.rounds(health, 3)
        assert up() == {"database": 1, "valkey": 0}
        needed.error, optional.error = OSError(), None
        await needed.rounds(health, 3)
        assert up() == {"database": 0, "valkey": 1}


@pytest.fixture
async def readyz(log_lines: Logs) -> AsyncIterator[Readyz]:
    del log_lines
    needed, optional = Dependency(), Dependency()
    needed.error = OSError()
    health = Health({"database": needed.check}, 0.01, 0.05, optional={"valkey": optional.check})
    health.started = True
    transport = httpx.ASGITransport(create_management(health, CollectorRegistry()))
    async with httpx.AsyncClient(transport=transport, base_url="http://management") as client:

        async def ask(needed_error: Exception | None, optional_error: Exception | None) -> tuple[int, str]:
            needed.error, optional.error = needed_error, optional_error
            await needed.rounds(health, 3)
            answer = await client.get("/readyz")
            return answer.status_code, answer.json()["status"]

        async with health.watching():
            yield ask


async def test_not_ready_before_what_is_needed_was_there_once(readyz: Readyz) -> None:
    assert await readyz(OSError(), None) == (503, "unavailable")
    assert await readyz(None, OSError()) == (200, "degraded")
    assert await readyz(None, None) == (200, "ok")


async def test_once_ready_it_stays_ready_whatever_all_pods_share_is_away(readyz: Readyz) -> None:
    """Or all pods would leave at once, and the ingress answer 404 for what is in their caches."""
    assert await readyz(None, None) == (200, "ok")
    assert await readyz(OSError(), None) == (200, "degraded")
    assert await readyz(OSError(), OSError()) == (200, "degraded")
    assert await readyz(None, None) == (200, "ok")


async def test_a_result_grows_stale(dependency: Dependency, log_lines: Logs) -> None:
    del log_lines
    health = Health({"database": dependency.check}, interval=0, timeout=-1)
    assert health.readiness()["database"] == "no recent check"


async def test_not_ready_before_the_start_and_while_draining(health: Health, dependency: Dependency) -> None:
    async with health.watching():
        await dependency.rounds(health)
        health.started = False
        assert health.startup() == {"startup": "still starting"}
        assert health.readiness()["startup"] == "still starting"
        health.started = health.draining = True
        assert health.readiness() == {"startup": OK, "drain": "draining", "database": OK}


async def test_watching_ends(health: Health, dependency: Dependency) -> None:
    async with health.watching():
        await dependency.rounds(health)
    assert all(task.get_coro().__name__ != "_watch" for task in asyncio.all_tasks())  # type: ignore[union-attr]
