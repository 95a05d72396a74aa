"""Server-sent events of a feed, as a browser reads them."""

from contextlib import AbstractAsyncContextManager

import httpx
import pytest

from tests.kit.streaming.conftest import Serve, Site

pytestmark = pytest.mark.anyio


async def take(answer: httpx.Response, count: int) -> list[dict[str, str]]:
    """The next events, by the names of their fields; several lines of data are one text. What has no data is none."""
    found: list[dict[str, str]] = []
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            event[name] = f"{event['data']}\n{value}" if name == "data" and name in event else value
            continue
        found += [event] if "data" in event else []
        event = {}
        if len(found) == count:
            return found
    raise AssertionError("the stream has ended")


def follow(site: Site, last: str | None = None) -> AbstractAsyncContextManager[httpx.Response]:
    return site.client.stream("GET", "/feed", headers={} if last is None else {"Last-Event-ID": last})


async def test_what_is_published_is_heard(serve: Serve) -> None:
    site = await serve()
    async with follow(site) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        await site.client.post("/feed", params={"data": "two\nlines", "event": "note"})
        (event,) = await take(answer, 1)
    assert (event["data"], event["event"]) == ("two\nlines", "note")
    assert event["id"]


async def test_a_client_goes_on_where_it_was(serve: Serve) -> None:
    site = await serve()
    async with follow(site) as answer:
        for number in range(3):
            await site.client.post(f"/feed?data={number}")
        seen = await take(answer, 3)
    await site.client.post("/feed?data=3")
    async with follow(site, seen[1]["id"]) as answer:
        assert [event["data"] for event in await take(answer, 2)] == ["2", "3"]


async def test_a_client_that_has_heard_of_nothing_goes_on_where_it_was(serve: Serve) -> None:
    site = await serve()
    await site.client.post("/feed?data=0")
    async with follow(site) as answer:
        place = await anext(answer.aiter_lines())
    await site.client.post("/feed?data=1")
    async with follow(site, place.removeprefix("id: ")) as answer:
        assert [event["data"] for event in await take(answer, 1)] == ["1"]


async def test_one_that_was_away_for_too_long_is_told(serve: Serve) -> None:
    site = await serve()
    await site.client.post("/feed?data=0")
    async with follow(site, "1-1") as answer:
        missed, kept = await take(answer, 2)
    assert missed == {"event": "missed", "data": ""}
    assert kept["data"] == "0"


async def test_an_id_that_is_too_long_is_refused(serve: Serve) -> None:
    site = await serve()
    answer = await site.client.get("/feed", headers={"Last-Event-ID": "1" * 65})
    assert answer.status_code == 422
