from collections.abc import AsyncIterator

import httpx
import pytest

pytestmark = pytest.mark.anyio

THINGS = "/api/v1/things"
JSON = {"Content-Type": "application/json"}
LIMIT = 65536


async def test_a_body_at_the_limit(writer: httpx.AsyncClient) -> None:
    body = b'{"name": "page"}'
    answer = await writer.post(THINGS, content=body + b" " * (LIMIT - len(body)), headers=JSON)
    assert answer.status_code == 201


async def test_a_body_declared_too_large_is_not_read(writer: httpx.AsyncClient) -> None:
    answer = await writer.post(THINGS, content=b"x" * (LIMIT + 1), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.json()["title"] == "Content Too Large"
    assert answer.json()["detail"] == "The body exceeds 65536 bytes."


async def test_a_body_of_undeclared_length_is_counted(writer: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(LIMIT // 1024 + 1):
            yield b" " * 1024

    answer = await writer.post(THINGS, content=chunks(), headers=JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


async def test_it_is_counted(writer: httpx.AsyncClient, management: httpx.AsyncClient) -> None:
    await writer.post(THINGS, content=b"x" * (LIMIT + 1))
    assert 'method="POST",route="unmatched",status="413"' in (await management.get("/metrics")).text
