import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import structlog
from starlette.types import Message

from keel.service import Apps
from tests.kit.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio


Until = Callable[[Callable[[], object]], Awaitable[None]]


def checked(service: Apps) -> bool:
    return service.health.readiness()["database"] != "not checked yet"


async def test_a_healthy_service(service: Apps, management: httpx.AsyncClient, until: Until) -> None:
    await until(lambda: checked(service))
    answer = await management.get("/readyz")
    assert answer.status_code == 200
    checks = dict.fromkeys(("startup", "drain", "database", "things"), "ok")
    assert answer.json() == {"status": "ok", "checks": checks}
    for path in ("/startupz", "/livez"):
        answer = await management.get(path)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


async def test_starting(service: Apps, management: httpx.AsyncClient) -> None:
    service.health.started = False
    for path in ("/startupz", "/readyz"):
        answer = await management.get(path)
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        assert answer.json()["checks"]["startup"] == "still starting"
    assert (await management.get("/livez")).status_code == 200


async def test_draining(service: Apps, management: httpx.AsyncClient, until: Until) -> None:
    await until(lambda: checked(service))
    service.health.draining = True
    answer = await management.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["drain"]) == (503, "draining")
    for path in ("/startupz", "/livez"):
        assert (await management.get(path)).status_code == 200


async def test_probes_may_be_asked_by_head(management: httpx.AsyncClient) -> None:
    assert (await management.head("/livez")).status_code == 200


async def test_metrics_in_both_formats(management: httpx.AsyncClient) -> None:
    plain = await management.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert not plain.text.endswith("# EOF\n")
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    openmetrics = await management.get("/metrics", headers=accept)
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")


@pytest.mark.parametrize("path", ["/startupz", "/livez", "/readyz", "/metrics", "/log-level"])
async def test_nothing_of_it_is_public(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_the_log_level_can_be_asked_for_and_changed(
    management: httpx.AsyncClient, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    log = structlog.get_logger("app.x")
    assert (await management.get("/log-level")).json() == {"level": "info"}
    log.debug("unheard")
    answer = await management.put("/log-level", json={"level": "debug"})
    assert (answer.status_code, answer.json()) == (200, {"level": "debug"})
    log.debug("heard")
    logging.getLogger("other").debug("heard too")
    assert (await management.get("/log-level")).json() == {"level": "debug"}
    await management.put("/log-level", json={"level": "error"})
    log.warning("unheard")
    told = [line["message"] for line in log_lines() if line["log.logger"] in ("app.x", "other", "keel.management")]
    assert told == ["log level changed", "heard", "heard too", "log level changed"]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"debug", b'"debug"', b"[]", b"{}", b'{"level": "loud"}', b'{"level": ["debug"]}', b"[" * 900),
        *(b'{"level": "error", "level": "debug"}', b'{"level": "debug", "seconds": NaN}'),  # not strict JSON
    ],
)
async def test_no_other_level_is_taken(management: httpx.AsyncClient, body: bytes) -> None:
    answer = await management.put("/log-level", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["detail"] == (
        'Send JSON such as {"level": "debug"}; the levels are debug, info, warning, error.'
    )
    assert (await management.get("/log-level")).json() == {"level": "info"}


async def test_errors_are_problem_details(management: httpx.AsyncClient) -> None:
    for answer, status, told in (
        (await management.get("/metric"), 404, "/metrics"),
        (await management.post("/metrics"), 405, "Allow"),
        (await management.delete("/log-level"), 405, "Allow"),
        (await management.put("/log-level", content=b" " * 1025), 413, "1024 bytes"),
    ):
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.json()["status"] == status
        assert told in answer.json()["detail"]
    allowed = (await management.delete("/log-level")).headers["allow"]
    assert set(allowed.split(", ")) == {"GET", "HEAD", "PUT"}


@pytest.mark.parametrize("accept", ["text/plain; version=x", "application/openmetrics-text; version=1.x", "*/*;q=0.1"])
async def test_metrics_for_whatever_is_asked_for(management: httpx.AsyncClient, accept: str) -> None:
    answer = await management.get("/metrics", headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


async def test_no_redirects_to_where_a_client_says(management: httpx.AsyncClient) -> None:
    assert (await management.get("/metrics/")).status_code == 404


async def test_a_body_that_never_comes_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keel.management.SECONDS", 0.05)
    app = SERVICE.build(settings).management
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": "/log-level", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
