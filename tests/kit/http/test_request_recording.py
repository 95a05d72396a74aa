"""What a request and its answer look like from outside, on a real server with real clients."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CollectorRegistry
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from keel.http.request_recording import RequestRecordMiddleware
from keel.observability import logs
from keel.observability.metrics import RequestMetrics
from keel.observability.request_record import DISCONNECT_CHECK_AFTER_SECONDS
from keel.server import Server, listen

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


class Duplex(Response):
    """Reads the request's body when the answer has begun."""

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = (await receive())["body"]
        await send({"type": "http.response.body", "body": body})


class Site:
    """A server whose route /wait answers when it is let, and notes how requests end."""

    def __init__(self, log_lines: Logs) -> None:
        self.reached, self.answer = asyncio.Event(), asyncio.Event()
        self.registry = CollectorRegistry()
        self.log_lines = log_lines
        self.app = FastAPI(middleware=[Middleware(RequestRecordMiddleware, metrics=RequestMetrics(self.registry))])
        config = uvicorn.Config(
            self.app, log_config=None, lifespan="off", http="httptools", timeout_graceful_shutdown=5
        )
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self.address: tuple[str, int] = ("", 0)

        @self.app.get("/wait")
        async def wait() -> str:
            self.reached.set()
            await self.answer.wait()
            return "answer"

        @self.app.post("/upload")
        async def upload(request: Request) -> int:
            self.reached.set()
            return len(await request.body())

        @self.app.post("/ignore")
        async def ignore() -> str:
            self.reached.set()
            await self.answer.wait()
            return "answer"

        @self.app.post("/duplex")
        async def duplex() -> Duplex:
            await asyncio.sleep(DISCONNECT_CHECK_AFTER_SECONDS)
            return Duplex()

        @self.app.get("/break")
        async def break_off() -> StreamingResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"first"
                raise RuntimeError

            return StreamingResponse(pieces())

        @self.app.get("/stream")
        async def stream() -> StreamingResponse:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"first"
                await self.answer.wait()

            return StreamingResponse(pieces())

        @self.app.get("/unavailable")
        async def unavailable() -> Response:
            self.reached.set()
            await self.answer.wait()
            return Response(status_code=503)

        @self.app.get("/fail")
        async def fail() -> None:
            raise RuntimeError

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def ask(self, request: bytes) -> bytes:
        reader, writer = await self.connect()
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    def lines(self) -> list[dict[str, Any]]:
        assert logs.output is not None
        logs.output.writer.flush()
        return [line for line in self.log_lines() if line["log.logger"] == "app.access"]

    def counted(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["route"], sample.labels["status"]): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "http_request_duration_seconds_count"
        }


@pytest.fixture
async def site(log_lines: Logs) -> AsyncIterator[Site]:
    site = Site(log_lines)
    with listen("127.0.0.1", 0, "APP") as listener:
        site.address = listener.getsockname()
        task = asyncio.create_task(site.server.serve(sockets=[listener]))
        yield site
        site.answer.set()
        site.server.should_exit = True
        await task


@pytest.mark.parametrize("request_line", [b"GET /wait", b"POST /ignore"])
async def test_a_client_that_leaves_before_the_answer(site: Site, until: Until, request_line: bytes) -> None:
    _, writer = await site.connect()
    writer.write(request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    await site.reached.wait()
    await asyncio.sleep(DISCONNECT_CHECK_AFTER_SECONDS)  # the least after which it is looked for
    writer.close()
    await until(lambda: not site.server.server_state.connections)
    site.answer.set()
    await until(site.lines)
    (line,) = site.lines()
    assert (line["http.response.status_code"], line["log.level"], line["event.outcome"]) == (499, "info", "unknown")
    assert line["http.response.body.bytes"] == 0
    assert list(site.counted()) == [(request_line.split()[1].decode(), "499")]


async def test_a_failure_of_ours_stays_one_if_the_client_gave_up(site: Site, until: Until) -> None:
    _, writer = await site.connect()
    writer.write(b"GET /unavailable HTTP/1.1\r\nHost: x\r\n\r\n")
    await site.reached.wait()
    await asyncio.sleep(DISCONNECT_CHECK_AFTER_SECONDS)
    writer.close()
    await until(lambda: not site.server.server_state.connections)
    site.answer.set()
    await until(site.lines)
    assert site.lines()[0]["http.response.status_code"] == 503


async def test_a_client_that_leaves_in_the_middle_of_its_request(site: Site, until: Until) -> None:
    _, writer = await site.connect()
    writer.write(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n0123456789")
    await site.reached.wait()
    writer.close()
    await until(site.lines)
    (line,) = site.lines()
    assert (line["http.response.status_code"], line["http.request.body.bytes"]) == (499, 10)
    assert list(site.counted()) == [("/upload", "499")]


async def test_a_client_that_waits_gets_its_answer(site: Site) -> None:
    for request_line in (b"GET /wait", b"POST /ignore"):
        site.reached.clear()
        site.answer.clear()
        asking = asyncio.create_task(site.ask(request_line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        await site.reached.wait()
        await asyncio.sleep(DISCONNECT_CHECK_AFTER_SECONDS)
        site.answer.set()
        assert (await asking).endswith(b'"answer"')
    assert [line["http.response.status_code"] for line in site.lines()] == [200, 200]
    assert [line["http.response.body.bytes"] for line in site.lines()] == [8, 8]
    assert all(line["event.duration"] > DISCONNECT_CHECK_AFTER_SECONDS * 1e9 for line in site.lines())


async def test_to_look_for_the_client_takes_nothing_of_a_body(site: Site) -> None:
    head = b"POST /duplex HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"
    assert b"0123456789" in await site.ask(head + b"0123456789")
    (line,) = site.lines()
    assert (line["http.request.body.bytes"], line["http.response.body.bytes"]) == (10, 10)


async def test_a_client_that_leaves_in_the_middle_of_the_answer_has_got_its_status(site: Site, until: Until) -> None:
    reader, writer = await site.connect()
    writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"first")
    writer.close()
    await until(site.lines)
    assert site.lines()[0]["http.response.status_code"] == 200


async def test_an_answer_that_breaks_off_is_a_failure(site: Site) -> None:
    await site.ask(b"GET /break HTTP/1.1\r\nHost: x\r\n\r\n")
    (line,) = site.lines()
    assert (line["http.response.status_code"], line["log.level"], line["event.outcome"]) == (200, "error", "failure")
    assert line["http.response.body.bytes"] == 5


async def test_no_answer_at_all_is_a_500(site: Site) -> None:
    await site.ask(b"GET /fail HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (line,) = site.lines()
    assert (line["http.response.status_code"], line["event.outcome"]) == (500, "failure")
    assert list(site.counted()) == [("/fail", "500")]


async def test_requests_in_flight(site: Site, until: Until) -> None:
    def in_flight() -> float | None:
        return site.registry.get_sample_value("http_requests_in_flight")

    assert in_flight() == 0
    asking = asyncio.create_task(site.ask(b"GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    await site.reached.wait()
    assert in_flight() == 1
    site.answer.set()
    await asking
    await until(lambda: in_flight() == 0)


class FileServer(Protocol):
    server: Server


async def test_work_that_fails_after_the_response_is_logged(
    files_client: httpx.AsyncClient, log_lines: Logs, until: Until
) -> None:
    assert (await files_client.post("/failures")).status_code == 202
    await until(lambda: "work after the response failed" in [line["message"] for line in log_lines()])
    (line,) = (line for line in log_lines() if line["message"] == "work after the response failed")
    assert (line["log.level"], line["labels.route"]) == ("error", "/api/v1/failures")
    assert "this work always fails" in line["error.stack_trace"]


async def test_work_that_is_cut_off_after_the_response_is_logged(
    files: FileServer, files_client: httpx.AsyncClient, log_lines: Logs, until: Until
) -> None:
    assert (await files_client.post("/work")).status_code == 202
    await until(lambda: "work begins" in [line["message"] for line in log_lines()])
    assert files.server.cut_off() == 1
    await until(lambda: "work after the response was cut off" in [line["message"] for line in log_lines()])
