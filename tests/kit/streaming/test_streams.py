"""Answers that go on: their limits, what the metrics and the log say of them, and their end in the drain."""

import asyncio
import gc
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from keel.http import streams as module
from keel.http.streams import RETRY_MILLISECONDS, Streams, comes_of_the_end
from keel.observability.request_record import RequestRecord
from tests.kit.streaming.conftest import Serve, Site

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]
DURATION = "http_request_duration_seconds"


def measured(site: Site, route: str) -> float:
    labels = {"method": "GET", "route": route, "status": "200"}
    return site.metric(f"{DURATION}_sum", **labels) or 0


async def test_a_stream_may_take_longer_than_a_request(serve: Serve) -> None:
    site = await serve(request_timeout_seconds=0.4)
    for path in ("/ticks?every=0.2&count=4", "/export?every=0.2&count=4"):
        answer = await site.client.get(path)
        assert (answer.status_code, answer.elapsed.total_seconds() > 0.7) == (200, True)
    with pytest.raises(httpx.RemoteProtocolError):
        await site.client.get("/ordinary?every=0.2&count=4")


async def test_it_is_measured_to_its_beginning_and_any_other_answer_to_its_end(serve: Serve) -> None:
    site = await serve()
    for route in ("/ticks", "/export", "/ordinary"):
        await site.client.get(f"{route}?every=0.15&count=2")
    assert measured(site, "/ticks") < 0.15
    assert measured(site, "/export") < 0.15
    assert measured(site, "/ordinary") > 0.25
    (line,) = site.logged("GET /ticks 200")
    assert line["event.duration"] > 250_000_000
    assert line["labels.first_byte_ms"] < 150
    assert line["http.response.body.bytes"] == len("data: 0\nid: 0\n\n") * 2
    assert "labels.first_byte_ms" not in site.logged("GET /ordinary 200")[0]
    assert site.metric("streams_ended_total", reason="finished") == 2


async def test_what_is_open_is_counted_apart(serve: Serve, until: Until) -> None:
    site = await serve(max_concurrent_requests=1)
    async with site.client.stream("GET", "/ticks") as one, site.client.stream("GET", "/ticks") as two:
        assert (one.status_code, two.status_code) == (200, 200)
        assert site.metric("streams_open") == 2
        assert site.metric("http_requests_in_flight") == 0
        assert (await site.client.get("/plain")).status_code == 200
    await until(lambda: site.metric("streams_open") == 0)


async def test_there_is_a_limit_of_their_own(serve: Serve, until: Until) -> None:
    site = await serve(max_streams=1)
    async with site.client.stream("GET", "/ticks"):
        for path in ("/ticks", "/export"):
            refused = await site.client.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json()["detail"] == "The service is at its limit of streams. Try again soon."
        assert (await site.client.get("/plain")).status_code == 200
    await until(lambda: site.metric("streams_open") == 0)
    assert (await site.client.get("/export")).status_code == 200
    assert site.metric("news_watching") == 0


async def test_a_client_that_leaves_is_no_error(serve: Serve, until: Until) -> None:
    site = await serve()
    async with site.client.stream("GET", "/ticks"):
        assert site.metric("news_watching") == 1
    await until(lambda: site.logged("GET /ticks 200"))
    assert site.metric("news_watching") == 0
    assert site.logged("GET /ticks 200")[0]["event.outcome"] == "unknown"
    assert site.metric("streams_ended_total", reason="left") == 1
    assert site.errors == []


def connect(site: Site, path: str) -> socket.socket:
    """A client with a small buffer, which reads only what it is told to."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = site.host.partition(":")
    client.connect((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    return client


async def test_a_client_that_takes_nothing_is_let_go(serve: Serve, until: Until) -> None:
    site = await serve(request_timeout_seconds=0.3)
    with connect(site, "/flood"):
        await until(lambda: site.metric("streams_ended_total", reason="slow") == 1)
    await until(lambda: site.metric("news_watching") == 0)
    (line,) = site.logged("stream ended: the client takes nothing")
    await until(lambda: site.logged("GET /flood 200"))
    assert line["http.request.id"] == site.logged("GET /flood 200")[0]["http.request.id"]
    assert site.errors == []


async def test_a_generator_that_has_a_piece_ready_is_closed_at_once(serve: Serve, until: Until) -> None:
    """Not when garbage is collected."""
    site = await serve()
    gc.disable()
    try:
        async with site.client.stream("GET", "/flood"):
            assert site.metric("news_watching") == 1
        await until(lambda: site.metric("news_watching") == 0)
    finally:
        gc.enable()
    assert site.errors == []


async def test_a_route_that_has_begun_and_hangs_is_ended(serve: Serve, until: Until) -> None:
    site = await serve(request_timeout_seconds=0.3)
    with pytest.raises(httpx.RemoteProtocolError):
        await site.client.get("/export?every=30")
    await until(lambda: site.logged("GET /export 200"))
    assert site.metric("streams_ended_total", reason="stalled") == 1
    assert site.logged("GET /export 200")[0]["event.outcome"] == "failure"


async def test_an_event_stream_may_have_nothing_to_say(serve: Serve) -> None:
    site = await serve(request_timeout_seconds=0.2)
    assert len((await site.client.get("/ticks?every=0.6&count=2")).content.split(b"\n\n")) == 3


async def test_the_end_in_the_drain(serve: Serve, until: Until) -> None:
    """Open streams and those that still begin end with the time to come back; what ends by itself goes on."""
    site = await serve()
    open_before = asyncio.create_task(site.client.get("/ticks"))
    export = asyncio.create_task(site.client.get("/export?every=0.3&count=3"))
    await until(lambda: site.metric("streams_open") == 2)
    site.apps.streams.drain(0.1)
    for answer in (await open_before, await site.client.get("/ticks")):
        assert (found := re.search(r"\n\nretry: (\d+)\n\n$", answer.text))
        assert RETRY_MILLISECONDS[0] <= int(found[1]) <= RETRY_MILLISECONDS[1]
    assert (await export).text == "piece\n" * 3
    assert site.metric("streams_ended_total", reason="drained") == 2
    assert site.metric("news_watching") == 0
    assert {line["event.outcome"] for line in site.logged("GET /ticks 200")} == {"success"}
    assert site.errors == []


async def test_half_an_event_is_not_completed(serve: Serve, until: Until) -> None:
    """A client throws away what is not whole, and comes back for it."""
    site = await serve()
    answer = asyncio.create_task(site.client.get("/half"))
    await until(lambda: site.metric("streams_open") == 1)
    site.apps.streams.drain(0)
    assert (await answer).text == "data: whole\n\ndata: ha"


async def test_the_drain_does_not_wait_for_a_client_that_takes_nothing(serve: Serve, until: Until) -> None:
    site = await serve()
    with connect(site, "/flood"):
        sent = 0

        def stands_still() -> bool:
            nonlocal sent
            before, sent = sent, sum(stream._record.sent for stream in site.apps.streams.open)
            return before == sent > 0

        await until(stands_still)
        await until(stands_still)
        site.apps.streams.drain(0)
        await until(lambda: site.metric("streams_ended_total", reason="drained") == 1)
    assert site.errors == []


async def test_the_head_of_a_stream(serve: Serve) -> None:
    site = await serve()
    answer = await site.client.head("/head")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert site.metric("streams_open") == 0


async def test_a_stream_that_breaks_is_an_error(serve: Serve, until: Until) -> None:
    site = await serve()
    with pytest.raises(httpx.RemoteProtocolError):
        await site.client.get("/broken")
    await until(lambda: site.logged("GET /broken 200"))
    assert site.logged("GET /broken 200")[0]["event.outcome"] == "failure"
    assert any("hunter2" in line.get("error.stack_trace", "") for line in site.errors)


async def test_a_stream_needs_a_token_as_any_route(serve: Serve, mint: Callable[..., str]) -> None:
    site = await serve()
    assert (await site.client.get("/private")).status_code == 401
    answer = await site.client.get("/private", headers={"Authorization": f"Bearer {mint()}"})
    assert answer.text == 'data: "alice"\n\n'


def test_only_what_comes_of_the_end_is_no_error() -> None:
    assert not comes_of_the_end(ExceptionGroup("", [RuntimeError()]))


async def test_a_route_that_does_not_notice_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that asks for no disconnect: its next piece fails, after a while."""
    monkeypatch.setattr(module, "NOTICE_SECONDS", 0)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    streams = Streams(10, 10, CollectorRegistry())
    scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": [], "state": {}}
    record = RequestRecord(scope, receive, send, lambda _: None, streams.begin)
    headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
    await record.send({"type": "http.response.start", "status": 200, "headers": headers})
    assert isinstance(record.stream, module.Stream)
    await record.stream.finish()
    await record.stream.finish()
    assert sent[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]  # compressed: nothing is added
    with pytest.raises(OSError, match="has ended"):
        await record.send({"type": "http.response.body", "body": b"more", "more_body": True})
    record.stream.look(1e9)
