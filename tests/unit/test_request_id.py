import re

import httpx
import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("offered", ["0af76519-16cd-43dd", "a" * 128, "A.b_c~d-1"])
async def test_a_sane_id_is_kept(client: httpx.AsyncClient, offered: str) -> None:
    answer = await client.get("/", headers={"X-Request-ID": offered})
    assert answer.headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["short", "a" * 129, "has space", 'quote"quote', "slash/slash", "ümlaut-id", ""])
async def test_any_other_is_replaced(client: httpx.AsyncClient, offered: str) -> None:
    answer = await client.get("/", headers={b"X-Request-ID": offered.encode()})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_every_request_has_its_own(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/")).headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


async def test_a_problem_tells_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/unknown")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
