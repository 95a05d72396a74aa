from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import pytest
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from keel.data import migrate
from keel.errors.problems import ErrorMiddleware, Problem
from keel.service import Apps
from tests.kit.subject import SERVICE, Settings
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]


async def test_an_error_of_ours_tells_nothing_and_is_logged(
    service: Apps, client: httpx.AsyncClient, log_lines: Logs
) -> None:
    async def fail() -> None:
        raise RuntimeError("password=hunter2")

    service.public.add_api_route("/fail/now", fail)
    answer = await client.get("/fail/now")
    check_problem(answer, 500, "Internal Server Error")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    (line,) = (line for line in log_lines() if line["message"] == "request failed")
    assert "RuntimeError: password=[REDACTED]" in line["error.stack_trace"]
    assert line["http.request.id"] == answer.headers["x-request-id"]


class Broken:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise RuntimeError("hunter2")
        await self.app(scope, receive, send)


async def broken_at(place: int, settings: Settings) -> httpx.Response:
    await migrate.migrate(settings)
    app = SERVICE.build(settings).public
    app.user_middleware.insert(place, Middleware(Broken))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")


async def test_errors_in_inner_middleware(settings: Settings, log_lines: Logs) -> None:
    del log_lines
    check_problem(
        await broken_at(len(SERVICE.build(settings).public.user_middleware), settings),
        500,
        "Internal Server Error",
    )


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
async def test_errors_in_outer_middleware(settings: Settings, log_lines: Logs, place: int) -> None:
    del log_lines
    answer = await broken_at(place, settings)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "hunter2" not in answer.text


async def test_an_answer_that_has_begun_is_cut(log_lines: Logs) -> None:
    del log_lines

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise Problem(500, "too late")

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    receive: Callable[[], Awaitable[Any]] = lambda: None  # type: ignore[assignment,return-value] # noqa: E731
    with pytest.raises(Problem):
        await ErrorMiddleware(app)({"type": "http"}, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start"]


async def test_without_handlers_of_an_application(log_lines: Logs) -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise Problem(503, "The well is dry.")

    transport = httpx.ASGITransport(ErrorMiddleware(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The well is dry.")
    (line,) = (line for line in log_lines() if line["message"] == "request failed")
    assert line["labels.detail"] == "The well is dry."
