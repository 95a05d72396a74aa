import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keel.errors.problems import ErrorMiddleware, Problem
from keel.http import time_limit
from keel.http.limits import LimitedRoutes, limits
from keel.http.time_limit import AwaitedBodies, TimeLimitMiddleware
from tests.kit.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]

SCOPE: Scope = {"type": "http", "method": "GET", "headers": []}


async def empty() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def forever() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def ask(app: ASGIApp, receive: Receive = empty, seconds: float = 0.02) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await TimeLimitMiddleware(app, seconds, 10, AwaitedBodies(10))(SCOPE, receive, send)
    return sent


async def test_in_time() -> None:
    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    limit = TimeLimitMiddleware(app, 0.3, 10, AwaitedBodies(10))
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await limit(SCOPE, empty, send)
    await asyncio.sleep(0.35)  # as long as it would have been given
    assert [message["status"] for message in sent] == [200]
    assert (limit._running, limit._timer) == ({}, None)


async def test_each_has_the_whole_time() -> None:
    """Though one timer serves all."""
    seconds: dict[str, float] = {}

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    limit = TimeLimitMiddleware(app, 0.1, 10, AwaitedBodies(10))
    loop = asyncio.get_running_loop()

    async def one(name: str) -> None:
        began = loop.time()
        with pytest.raises(Problem):
            await limit(SCOPE, empty, forever)  # type: ignore[arg-type]
        seconds[name] = loop.time() - began

    first = asyncio.create_task(one("first"))
    await asyncio.sleep(0.06)
    await asyncio.gather(first, one("second"))
    assert all(taken > 0.09 for taken in seconds.values()), seconds
    assert limit._running == {}


async def test_no_more_at_once_than_that() -> None:
    go_on = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    limit = TimeLimitMiddleware(app, 60, 2, AwaitedBodies(10))

    async def status() -> int:
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await limit(SCOPE, empty, send)
        return int(sent[0]["status"])

    running = [asyncio.create_task(status()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await status() == 503
    go_on.set()
    assert await asyncio.gather(*running) == [200, 200]
    assert await status() == 200


class Crowd:
    """Requests of several clients whose bodies come when they are told to."""

    def __init__(self, max_concurrent: int) -> None:
        self.awaited = AwaitedBodies(max_concurrent)
        self.limit = TimeLimitMiddleware(self._app, 60, max_concurrent, self.awaited)
        self.come = asyncio.Event()
        self.busy = asyncio.Event()

    async def _app(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await self.busy.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def _late(self) -> Message:
        await self.come.wait()
        return await empty()

    async def ask(self, client: str, *, late: bool = True) -> int:
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {**SCOPE, "client": (client, 1)}
        await ErrorMiddleware(self.limit)(scope, self._late if late else empty, send)
        return int(sent[0]["status"])

    async def begin(self, *clients: str, late: bool = True) -> list[asyncio.Task[int]]:
        begun = [asyncio.create_task(self.ask(client, late=late)) for client in clients]
        for _ in range(4):  # rounds in which they come to wait
            await asyncio.sleep(0)
        return begun


async def test_bodies_that_are_awaited_keep_nobody_out() -> None:
    crowd = Crowd(20)
    waiting = await crowd.begin(*(f"192.0.2.{number}" for number in range(20)))
    assert len(crowd.awaited) == 20
    busy = await crowd.begin(*["198.51.100.1"] * 20, late=False)
    assert len(crowd.awaited) == 20
    assert not any(task.done() for task in busy)
    assert await crowd.ask("198.51.100.2", late=False) == 503
    assert await crowd.ask("198.51.100.2") == 503  # no place of either kind is left
    crowd.busy.set()
    assert {await task for task in busy} == {200}
    crowd.come.set()
    assert {await task for task in waiting} == {200}
    assert (len(crowd.awaited), crowd.awaited._of_client) == (0, {})


async def test_one_address_has_few_places_for_bodies() -> None:
    crowd = Crowd(40)
    waiting = await crowd.begin("2001:db8::1", "2001:db8::2", "2001:db8:1::1")
    assert await crowd.ask("2001:db8::3") == 429
    assert len(crowd.awaited) == 3
    crowd.busy.set()
    assert await crowd.ask("2001:db8::3", late=False) == 200
    crowd.come.set()
    assert {await task for task in waiting} == {200}


async def test_a_place_must_be_free_when_the_body_has_come() -> None:
    crowd = Crowd(20)
    (late,) = await crowd.begin("192.0.2.1")
    busy = await crowd.begin(*["198.51.100.1"] * 20, late=False)
    crowd.come.set()
    assert await late == 503
    crowd.busy.set()
    assert {await task for task in busy} == {200}


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    crowd = Crowd(20)
    (left,) = await crowd.begin("192.0.2.1")
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert len(crowd.awaited) == 0


async def test_a_slow_handler_is_cancelled() -> None:
    cleaned_up = False

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        nonlocal cleaned_up
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up = True

    with pytest.raises(Problem) as raised:
        await ask(app)
    assert (raised.value.status_code, raised.value.headers) == (503, {"Retry-After": "5"})
    assert "longer than 0.02 seconds" in raised.value.detail
    assert cleaned_up
    task = asyncio.current_task()
    assert task
    assert task.cancelling() == 0


async def test_a_slow_body_is_the_clients_fault() -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        while True:
            await receive()

    async def dripping() -> Message:
        await asyncio.sleep(0.005)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(Problem) as raised:
        await ask(app, dripping)
    assert (raised.value.status_code, raised.value.headers) == (408, {"Connection": "close"})


async def test_waiting_for_the_client_to_leave_is_not_waiting_for_its_body() -> None:
    whole = False

    async def body_and_then_nothing() -> Message:
        nonlocal whole
        if whole:
            return await forever()
        whole = True
        return await empty()

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        await receive()

    with pytest.raises(Problem) as raised:
        await ask(app, body_and_then_nothing)
    assert raised.value.status_code == 503


async def test_an_error_that_the_cancellation_led_to_is_a_time_out() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("the driver's own idea of being cancelled") from None

    with pytest.raises(Problem) as raised:
        await ask(app)
    assert raised.value.status_code == 503


async def test_an_error_in_time_is_passed_on() -> None:
    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await ask(app)


async def test_an_answer_in_spite_of_the_cancellation_stands() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    assert (await ask(app))[0]["status"] == 200


@pytest.mark.parametrize("seconds", [60, 0.02])
async def test_the_end_of_the_server_is_no_time_out(seconds: float) -> None:
    begun = asyncio.Event()

    async def app(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.04)  # until the time is out as well

    request = asyncio.create_task(ask(app, seconds=seconds))
    await begun.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def test_an_answer_that_has_begun_is_broken_off() -> None:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    with pytest.raises(Problem):
        await ErrorMiddleware(TimeLimitMiddleware(app, 0.02, 10, AwaitedBodies(10)))(SCOPE, empty, send)
    assert len(sent) == 1


async def test_in_the_drain_a_long_body_that_goes_on_arriving_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """It is one of a route with limits of its own."""
    monkeypatch.setattr(time_limit, "DRAIN_SECONDS", 0.5)
    parts: asyncio.Queue[bytes] = asyncio.Queue()
    received = 0

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        nonlocal received
        while True:
            received += len((await receive())["body"])

    async def receive() -> Message:
        return {"type": "http.request", "body": await parts.get(), "more_body": True}

    declared = limits(seconds=60)
    site = FastAPI()
    site.add_api_route("/long", declared(lambda: None))
    routes = LimitedRoutes()
    routes.collect(site)
    awaited = AwaitedBodies(10)
    limit = TimeLimitMiddleware(app, 60, 10, awaited, routes)
    request = asyncio.create_task(limit({**SCOPE, "path": "/long"}, receive, forever))  # type: ignore[arg-type]
    await until(lambda: len(awaited))
    awaited.drain()
    for _ in range(15):
        parts.put_nowait(b"x")
        await asyncio.sleep(0.1)
    assert received == 15
    assert not request.done()
    with pytest.raises(Problem) as raised:  # when no more arrives
        await request
    assert (raised.value.status_code, len(awaited)) == (503, 0)


async def test_what_is_done_after_the_response_has_no_limit_and_does_not_count(until: Until) -> None:
    go_on = asyncio.Event()
    sent: list[MutableMapping[str, Any]] = []

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"some", "more_body": len(sent) == 1})
        if len(sent) == 2:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        await go_on.wait()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    limit = TimeLimitMiddleware(app, 0.1, 1, AwaitedBodies(10))
    working = [asyncio.create_task(limit(SCOPE, empty, send))]
    await until(lambda: len(sent) == 3)
    working.append(asyncio.create_task(limit(SCOPE, empty, send)))
    await until(lambda: len(sent) == 5)
    assert limit._running == {}
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in working)
    go_on.set()
    await asyncio.gather(*working)


async def test_as_part_of_the_service(settings: Settings) -> None:
    app = SERVICE.build(settings.model_copy(update={"request_timeout_seconds": 0.02})).public

    async def slow() -> None:
        await asyncio.Event().wait()

    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.Event().wait()

        return StreamingResponse(parts())

    app.add_api_route("/slow/it", slow)
    app.add_api_route("/endless/it", endless)
    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/slow/it")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.headers["retry-after"] == "5"
        with pytest.raises(Problem):
            await client.get("/endless/it")
