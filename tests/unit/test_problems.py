from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import pytest
from fastapi import HTTPException, Query
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app import migrate
from app.main import Service, create_service
from app.problems import ErrorMiddleware, Problem
from app.settings import Settings

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]


def check(answer: httpx.Response, status: int, title: str) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = answer.json()
    assert body["type"] == "about:blank"
    assert (body["status"], body["title"]) == (status, title)
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


async def test_not_found(client: httpx.AsyncClient) -> None:
    check(await client.get("/no/such/path"), 404, "Not Found")


@pytest.mark.parametrize(("path", "allowed"), [("/", {"GET", "HEAD"}), ("/page", {"GET", "HEAD"})])
async def test_method_not_allowed(client: httpx.AsyncClient, path: str, allowed: set[str]) -> None:
    answer = await client.put(path)
    check(answer, 405, "Method Not Allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


async def test_a_body_that_is_no_json(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/links", content=b'{"url":', headers={"Content-Type": "application/json"})
    assert check(answer, 400, "Bad Request")["detail"] == "The body is not JSON: see character 7."


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_a_body_of_another_type(writer: httpx.AsyncClient, media_type: str) -> None:
    answer = await writer.post("/api/v1/links", content=b'{"url": "x"}', headers={"Content-Type": media_type})
    check(answer, 415, "Unsupported Media Type")
    assert answer.headers["accept"] == "application/json"


async def test_no_body_at_all(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/links", headers={"Content-Type": "application/json"})
    assert check(answer, 422, "Unprocessable Content")["errors"] == [{"detail": "Field required", "pointer": "#"}]


async def test_parameters_are_named(service: Service, client: httpx.AsyncClient) -> None:
    async def read(item: int, page: int = Query()) -> int:
        return item + page

    service.public.add_api_route("/items/{item}/page", read)
    answer = await client.get("/items/x/page")
    errors = check(answer, 422, "Unprocessable Content")["errors"]
    assert [error["parameter"] for error in errors] == ["item", "page"]
    assert "pointer" not in errors[0]


async def test_pointers_are_escaped(service: Service, client: httpx.AsyncClient) -> None:
    async def write(body: dict[str, dict[str, int]]) -> None:
        del body

    service.public.add_api_route("/write/it", write, methods=["POST"])
    answer = await client.post("/write/it", json={"a/b": {"c~d": "x"}})
    assert answer.json()["errors"][0]["pointer"] == "#/a~1b/c~0d"


async def test_an_error_of_ours_tells_nothing_and_is_logged(
    service: Service, client: httpx.AsyncClient, log_lines: Logs
) -> None:
    async def fail() -> None:
        raise RuntimeError("password=hunter2")

    service.public.add_api_route("/fail/now", fail)
    answer = await client.get("/fail/now")
    check(answer, 500, "Internal Server Error")
    assert "hunter2" not in answer.text
    assert "RuntimeError" not in answer.text
    (line,) = (line for line in log_lines() if line["event"] == "request failed")
    assert "RuntimeError: password=hunter2" in line["exception"]
    assert line["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("status", [410, 418])
async def test_exceptions_of_the_framework(service: Service, client: httpx.AsyncClient, status: int) -> None:
    async def fail() -> None:
        raise HTTPException(status, "Gone for good.", {"X-Reason": "because"})

    service.public.add_api_route("/fail/now", fail)
    answer = await client.get("/fail/now")
    assert check(answer, status, answer.json()["title"])["detail"] == "Gone for good."
    assert answer.headers["x-reason"] == "because"


class Broken:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise RuntimeError("hunter2")
        await self.app(scope, receive, send)


async def broken_at(place: int, settings: Settings) -> httpx.Response:
    await migrate.migrate(settings)
    app = create_service(settings).public
    app.user_middleware.insert(place, Middleware(Broken))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get("/")


async def test_errors_in_inner_middleware(settings: Settings, log_lines: Logs) -> None:
    del log_lines
    check(
        await broken_at(len(create_service(settings).public.user_middleware), settings),
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


async def test_the_schema_tells_of_problems_only(client: httpx.AsyncClient) -> None:
    schema = (await client.get("/api/openapi.json")).json()
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in str(schema)
    assert {"401", "403", "409", "413", "422"} <= set(schema["paths"]["/api/v1/links"]["post"]["responses"])
