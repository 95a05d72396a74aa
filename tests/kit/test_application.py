"""What is left out of FastAPI's middleware, and that nothing misses it."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from keel.application import Application
from keel.compat.fastapi import REPLACED_MIDDLEWARE
from keel.errors.problems import ErrorMiddleware
from keel.service import Apps

pytestmark = pytest.mark.anyio


def names(app: FastAPI) -> list[str]:
    found = []
    stack: object = app.build_middleware_stack()
    while stack is not None:
        found.append(type(stack).__name__)
        stack = getattr(stack, "app", None)
    return found


async def test_only_what_is_superfluous_is_left_out() -> None:
    """Also a test of FastAPI: should it call them otherwise, or put others there, this says so."""
    theirs, ours = names(FastAPI()), names(Application())
    assert set(theirs) - set(ours) == REPLACED_MIDDLEWARE
    assert ours == ["ErrorMiddleware", *(name for name in theirs if name not in REPLACED_MIDDLEWARE)]


async def test_what_nobody_handles_is_answered_all_the_same(service: Apps, client: httpx.AsyncClient) -> None:
    @service.public.get("/api/v1/fault")
    async def fault() -> None:
        raise RuntimeError("secret")

    answer = await client.get("/api/v1/fault")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text


async def test_each_middleware_lets_through_what_is_not_http(service: Apps) -> None:
    called: list[Scope] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        called.append(scope)

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError

    layers = [Middleware(ErrorMiddleware), *service.public.user_middleware]
    for each in layers:
        await each.cls(app, *each.args, **each.kwargs)({"type": "lifespan"}, receive, send)
    assert called == [{"type": "lifespan"}] * len(layers)


async def test_handlers_by_status_and_plain_functions_are_asked_too(service: Apps, client: httpx.AsyncClient) -> None:
    def gone(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("no such thing", 404)

    service.public.add_exception_handler(404, gone)
    assert (await client.get("/api/v1/nothing")).text == "no such thing"
