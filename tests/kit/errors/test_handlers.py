"""What FastAPI and Starlette raise, as clients see it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import HTTPException, Query
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError

from keel.errors.problems import Problem
from keel.service import Apps
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]


async def test_not_found(client: httpx.AsyncClient) -> None:
    check_problem(await client.get("/no/such/path"), 404, "Not Found")


@pytest.mark.parametrize(
    ("path", "allowed"), [("/", {"GET", "HEAD"}), ("/api/v1/things/page", {"GET", "HEAD", "DELETE"})]
)
async def test_method_not_allowed(client: httpx.AsyncClient, path: str, allowed: set[str]) -> None:
    answer = await client.put(path)
    check_problem(answer, 405, "Method Not Allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/", "/api/v1/things/page", "/api/v1/things", "/docs"])
async def test_trace_is_not_answered(client: httpx.AsyncClient, path: str) -> None:
    """RFC 9110, section 9.3.8: an answer would repeat the request with its token."""
    answer = await client.request("TRACE", path, headers={"Authorization": "Bearer hunter2"})
    check_problem(answer, 405, "Method Not Allowed")
    assert "hunter2" not in answer.text


async def test_a_body_that_is_no_json(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/things", content=b'{"name"', headers={"Content-Type": "application/json"})
    assert check_problem(answer, 400, "Bad Request")["detail"] == "The body is not JSON: see character 7."


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_a_body_of_another_type(writer: httpx.AsyncClient, media_type: str) -> None:
    answer = await writer.post("/api/v1/things", content=b'{"name": "x"}', headers={"Content-Type": media_type})
    check_problem(answer, 415, "Unsupported Media Type")
    assert answer.headers["accept"] == "application/json"


async def test_no_body_at_all(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/things", headers={"Content-Type": "application/json"})
    assert check_problem(answer, 422, "Unprocessable Content")["errors"] == [
        {"detail": "Field required", "pointer": "#"}
    ]


async def test_parameters_are_named(service: Apps, client: httpx.AsyncClient) -> None:
    async def read(item: int, page: int = Query()) -> int:
        return item + page

    service.public.add_api_route("/items/{item}/page", read)
    answer = await client.get("/items/x/page")
    errors = check_problem(answer, 422, "Unprocessable Content")["errors"]
    assert [error["parameter"] for error in errors] == ["item", "page"]
    assert "pointer" not in errors[0]


async def test_pointers_are_escaped(service: Apps, client: httpx.AsyncClient) -> None:
    async def write(body: dict[str, dict[str, int]]) -> None:
        del body

    service.public.add_api_route("/write/it", write, methods=["POST"])
    answer = await client.post("/write/it", json={"a/b": {"c~d": "x"}})
    assert answer.json()["errors"][0]["pointer"] == "#/a~1b/c~0d"


@pytest.mark.parametrize("status", [410, 418])
async def test_exceptions_of_the_framework(service: Apps, client: httpx.AsyncClient, status: int) -> None:
    async def fail() -> None:
        raise HTTPException(status, "Gone for good.", {"X-Reason": "because"})

    service.public.add_api_route("/fail/now", fail)
    answer = await client.get("/fail/now")
    assert check_problem(answer, status, answer.json()["title"])["detail"] == "Gone for good."
    assert answer.headers["x-reason"] == "because"


async def test_a_body_is_asked_for(writer: httpx.AsyncClient) -> None:
    answer = await writer.post("/api/v1/things")
    assert check_problem(answer, 422, "Unprocessable Content")["detail"] == "The request needs a JSON body."


async def test_allow_names_every_method_of_a_path(service: Apps, client: httpx.AsyncClient) -> None:
    async def nothing() -> None: ...

    for method in ("PUT", "DELETE"):
        service.public.add_api_route("/several/routes", nothing, methods=[method])
    answer = await client.get("/several/routes")
    check_problem(answer, 405, "Method Not Allowed")
    assert answer.headers["allow"] == "PUT, DELETE"


class Model(BaseModel):
    number: int


def with_cause(status: int, cause: Exception) -> Exception:
    error = Problem(status, "Not now.")
    error.__cause__ = cause
    return error


def nested(depth: int = 0) -> None:
    nested(depth + 1)


def validation_error() -> None:
    Model.model_validate({"number": "hunter2"})


def raising(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


SQL = IntegrityError("INSERT INTO things VALUES ($1)", {"url": "hunter2"}, RuntimeError("duplicate key hunter2"))


@pytest.mark.parametrize(
    "fail",
    [
        raising(SQL),
        raising(KeyError("hunter2")),
        raising(LookupError({"password": "hunter2"})),
        raising(ExceptionGroup("hunter2", [ValueError("hunter2"), SQL])),
        raising(OSError(2, "hunter2", "/etc/hunter2")),
        raising(UnicodeDecodeError("utf-8", b"hunter2", 0, 1, "hunter2")),
        raising(MemoryError("hunter2")),
        validation_error,
        nested,
        lambda: json.loads("hunter2"),
    ],
)
async def test_nothing_of_ours_reaches_a_client(
    service: Apps, client: httpx.AsyncClient, log_lines: Logs, fail: Callable[[], object]
) -> None:
    async def route() -> None:
        fail()

    service.public.add_api_route("/fail/now", route)
    answer = await client.get("/fail/now")
    body = check_problem(answer, 500, "Internal Server Error")
    assert set(body) == {"type", "title", "status", "detail", "request_id"}
    assert body["detail"].startswith("Something went wrong on our side.")
    for secret in ("hunter2", "INSERT", "Error", "Traceback", "Model", "fail", "/etc", "recursion"):
        assert secret not in answer.text.replace("Internal Server Error", "")
    (line,) = (line for line in log_lines() if line["message"] == "request failed")
    assert line["log.level"] == "error"
    assert line["error.stack_trace"]


async def test_an_answer_that_does_not_fit_its_model(service: Apps, client: httpx.AsyncClient) -> None:
    async def route() -> Any:
        return {"number": "hunter2"}

    service.public.add_api_route("/fail/now", route, response_model=Model)
    answer = await client.get("/fail/now")
    check_problem(answer, 500, "Internal Server Error")
    assert "hunter2" not in answer.text
    assert "number" not in answer.text


async def test_faults_of_ours_are_logged_with_their_cause(
    service: Apps, client: httpx.AsyncClient, log_lines: Logs
) -> None:
    async def ours() -> None:
        raise with_cause(503, LookupError("the cause"))

    async def framework() -> None:
        raise HTTPException(502, "The server behind us is gone.") from LookupError("the cause")

    for path, route, title in (("/ours/it", ours, "Service Unavailable"), ("/framework/it", framework, "Bad Gateway")):
        service.public.add_api_route(path, route)
        answer = await client.get(path)
        check_problem(answer, 503 if route is ours else 502, title)
        assert "the cause" not in answer.text
        line = [line for line in log_lines() if line["message"] == "request failed"][-1]
        assert line["log.level"] == "error"
        assert "LookupError('the cause')" in json.dumps(line)


async def test_mistakes_of_clients_are_not_logged_as_ours(
    service: Apps, client: httpx.AsyncClient, log_lines: Logs
) -> None:
    async def theirs() -> None:
        raise with_cause(409, LookupError("the cause"))

    service.public.add_api_route("/theirs/it", theirs)
    check_problem(await client.get("/theirs/it"), 409, "Conflict")
    assert {line["log.level"] for line in log_lines()} == {"info"}


@pytest.mark.parametrize("detail", [{"a": 1}, None])
async def test_details_that_are_no_sentence(service: Apps, client: httpx.AsyncClient, detail: Any) -> None:
    async def route() -> None:
        raise HTTPException(418, detail)

    service.public.add_api_route("/fail/now", route)
    assert isinstance((await client.get("/fail/now")).json()["detail"], str)


async def test_a_status_nobody_knows(service: Apps, client: httpx.AsyncClient) -> None:
    async def route() -> None:
        raise HTTPException(499, "Odd.")

    service.public.add_api_route("/fail/now", route)
    check_problem(await client.get("/fail/now"), 499, "Error")


async def test_head_gets_the_same_headers(service: Apps, client: httpx.AsyncClient) -> None:
    for path in ("/no/such/path", "/api/v1/things/unknown", "/api/v1/things"):
        get, head = await client.get(path), await client.head(path)
        assert head.headers["content-type"] == get.headers["content-type"] == "application/problem+json"
    del service
