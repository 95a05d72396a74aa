"""What is left out of FastAPI's middleware, and that nothing misses it."""

import httpx
import pytest
from fastapi import FastAPI

from app.application import SUPERFLUOUS, Application
from app.main import Service

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
    assert set(theirs) - set(ours) == SUPERFLUOUS
    assert ours == ["ErrorMiddleware", *(name for name in theirs if name not in SUPERFLUOUS)]


async def test_what_nobody_handles_is_answered_all_the_same(service: Service, client: httpx.AsyncClient) -> None:
    @service.public.get("/api/v1/fault")
    async def fault() -> None:
        raise RuntimeError("secret")

    answer = await client.get("/api/v1/fault")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
