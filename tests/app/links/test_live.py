"""Clicks as they come, by server-sent events and by a WebSocket."""

import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.anyio

SCOPE = "links:read links:write"


@pytest.fixture
async def web(address: str, mint: Callable[..., str]) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {mint(scope=SCOPE)}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as web:
        for slug in ("mine", "other"):
            await web.post("/api/v1/links", json={"url": "https://example.com/", "slug": slug})
        yield web


async def test_clicks_are_told_as_they_come(web: httpx.AsyncClient) -> None:
    async with web.stream("GET", "/api/v1/links/mine/clicks/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for slug in ("other", "mine", "mine"):
            assert (await web.get(f"/{slug}")).status_code == 307
        told = 0
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                data = json.loads(line.removeprefix("data:"))
                assert data["slug"] == "mine"
                told += data["clicks"]
                if told == 2:
                    break


async def test_a_client_that_comes_back_goes_on_where_it_was(web: httpx.AsyncClient) -> None:
    path, seen = "/api/v1/links/mine/clicks/events", {"Last-Event-ID": "0-1"}
    await web.get("/mine")
    ids = []
    for _ in range(2):
        async with web.stream("GET", path, headers=seen) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("id:"):
                    ids.append(line.removeprefix("id:").strip())
                    break
        seen = {"Last-Event-ID": ids[-1]}
        await web.get("/mine")
    assert ids[0] < ids[1]


async def test_what_is_not_kept_any_more_is_said(web: httpx.AsyncClient) -> None:
    path = "/api/v1/links/mine/clicks/events"
    async with web.stream("GET", path, headers={"Last-Event-ID": "0-1"}) as answer:
        assert await anext(answer.aiter_lines()) == "event: missed"


async def test_who_has_heard_of_nothing_comes_back_without_a_gap(web: httpx.AsyncClient) -> None:
    path = "/api/v1/links/mine/clicks/events"
    async with web.stream("GET", path) as answer:
        place = await anext(answer.aiter_lines())
    await web.get("/mine")
    async with web.stream("GET", path, headers={"Last-Event-ID": place.removeprefix("id: ")}) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "event: clicks"
        data = await anext(lines)
    assert json.loads(data.removeprefix("data: ")) == {"slug": "mine", "clicks": 1}


@pytest.mark.parametrize(("path", "who", "status"), [("mine", "bob", 403), ("nothing", "alice", 404)])
async def test_only_ones_own(
    web: httpx.AsyncClient, mint: Callable[..., str], path: str, who: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {mint(sub=who, scope=SCOPE)}"}
    answer = await web.get(f"/api/v1/links/{path}/clicks/events", headers=headers)
    assert answer.status_code == status


async def test_a_websocket_hears_the_same(web: httpx.AsyncClient, mint: Callable[..., str]) -> None:
    url = f"{web.base_url}/api/v1/links/mine/clicks/live".replace("http", "ws", 1)
    page = ["clicks", f"bearer.{mint(scope=SCOPE)}"]  # as a browser's page sends a token
    async with connect(url, subprotocols=page) as websocket:  # type: ignore[arg-type]  # names, which are str
        begin = json.loads(await websocket.recv())
        assert (begin["event"], begin["data"]) == (None, None)
    await web.get("/mine")
    async with connect(f"{url}?after={begin['id']}", subprotocols=page) as websocket:  # type: ignore[arg-type]
        told = json.loads(await websocket.recv())
        assert told["event"] == "clicks"
        assert told["data"] == {"slug": "mine", "clicks": 1}
        assert told["id"] > begin["id"]


@pytest.mark.parametrize(("path", "who", "status"), [("mine", "bob", 403), ("nothing", "alice", 404)])
async def test_a_websocket_is_refused_where_a_stream_is(
    web: httpx.AsyncClient, mint: Callable[..., str], path: str, who: str, status: int
) -> None:
    url = f"{web.base_url}/api/v1/links/{path}/clicks/live".replace("http", "ws", 1)
    with pytest.raises(InvalidStatus, match=f"HTTP {status}"):
        await connect(url, additional_headers={"Authorization": f"Bearer {mint(sub=who, scope=SCOPE)}"})
