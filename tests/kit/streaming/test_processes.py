"""The service as processes: many streams and WebSockets in the drain, and a feed that two of them share."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from keel.http.websockets import LINGER_SECONDS
from tests.support.processes import ROOT, App
from tests.support.servers import Valkey

pytestmark = pytest.mark.anyio

MANY = 500  # of each kind
DRAIN_SECONDS = 6
Start = Callable[..., App]


@pytest.fixture
def open_files() -> Iterator[None]:
    """Room for as many clients as that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def to_the_end(reader: asyncio.StreamReader) -> tuple[bytes, float]:
    """What is left of an answer, and when it ended."""
    return await reader.read(), time.monotonic()


async def until_closed(websocket: ClientConnection) -> tuple[int, float]:
    """The code of its end, and when that was."""
    with pytest.raises(ConnectionClosed) as raised:
        await websocket.recv()
    assert raised.value.rcvd
    return raised.value.rcvd.code, time.monotonic()


async def test_all_end_well_and_not_all_at_once(start: Start, open_files: None) -> None:
    del open_files
    app = start(
        APP_DRAIN_TIMEOUT_SECONDS=str(DRAIN_SECONDS),
        APP_RATE_LIMIT_ADDRESS_PER_MINUTE="0",
        APP_MAX_CONNECTIONS="2000",
        APP_MAX_STREAMS=str(MANY),
        APP_MAX_WEBSOCKETS=str(MANY),
    )
    host, _, port = app.public.partition(":")
    request = f"GET /feed HTTP/1.1\r\nHost: {app.public}\r\n\r\n".encode()
    readers, writers, websockets = [], [], []
    for number in range(MANY):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        readers.append(reader)
        writers.append(writer)
        path = "/watch" if number % 2 else "/echo/you"
        websockets.append(await connect(f"ws://{app.public}{path}", ping_interval=None))
    heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader in readers))
    assert {head.split(b"\r\n")[0] for head in heads} == {b"HTTP/1.1 200 OK"}
    metrics = app.text("/metrics")
    assert f"streams_open {MANY:.1f}" in metrics
    assert "http_requests_in_flight 0.0" in metrics
    assert f'websockets_open{{route="/watch"}} {MANY / 2:.1f}' in metrics

    app.process.send_signal(signal.SIGTERM)
    ends, codes = await asyncio.gather(
        asyncio.gather(*map(to_the_end, readers)), asyncio.gather(*map(until_closed, websockets))
    )
    assert all(b"retry: " in rest and rest.endswith(b"\r\n0\r\n\r\n") for rest, _ in ends)
    assert {code for code, _ in codes} == {1012}
    for moments in ([moment for _, moment in ends], [moment for _, moment in codes]):
        took = max(moments) - min(moments)
        assert DRAIN_SECONDS / 4 < took < DRAIN_SECONDS, took
        in_one_moment = max(sum(0 <= other - moment < 0.25 for other in moments) for moment in moments)
        assert in_one_moment < MANY / 2
    for writer in writers:
        writer.close()
    assert await asyncio.to_thread(app.end) == (0, "")
    assert [line for line in app.log if line["log.level"] == "error"] == []
    told = [line["labels.close_code"] for line in app.log if line.get("http.response.status_code") == 101]
    assert told == [1012] * MANY


async def test_a_websocket_is_closed_when_its_client_has_read_why(start: Start) -> None:
    """Closed right after the code, as uvicorn does: through a proxy, on a busy machine, many
    clients of aiohttp 3.14.5 found it closed before they could answer, and took it for broken (1006)."""
    app = start(APP_DRAIN_TIMEOUT_SECONDS=str(2 * DRAIN_SECONDS))
    host, _, port = app.public.partition(":")
    offer = f"GET /watch HTTP/1.1\r\nHost: {app.public}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    offer += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    restart = (1012).to_bytes(2, "big")
    connections = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
    for reader, writer in connections:
        writer.write(offer.encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        assert await reader.readexactly(4) == b"\x88\x02" + restart
        closed = asyncio.create_task(reader.read())
        assert not (await asyncio.wait([closed], timeout=0.5))[0]
        if answers:
            writer.write(b"\x88\x82\0\0\0\0" + restart)
        assert await asyncio.wait_for(closed, 1 if answers else LINGER_SECONDS + 2) == b""

    app.process.send_signal(signal.SIGTERM)
    try:
        await asyncio.gather(*(client(*each, answers=number == 0) for number, each in enumerate(connections)))
    finally:
        for _, writer in connections:
            writer.close()
    assert await asyncio.to_thread(app.end) == (0, "")
    assert [line for line in app.log if line["log.level"] == "error"] == []


async def test_a_client_goes_on_at_another_process(start: Start, valkey: Valkey) -> None:
    """None is lost and none comes twice, while it goes back and forth and both publish."""
    one, two = (
        start(APP_VALKEY_URL=valkey.url, APP_VALKEY_TIMEOUT_SECONDS="2", APP_RATE_LIMIT_ADDRESS_PER_MINUTE="0")
        for _ in range(2)
    )
    published = asyncio.Event()
    seen: list[str] = []
    last = ""

    async def publish(client: httpx.AsyncClient) -> None:
        for number in range(60):
            app = (one, two)[number % 2]
            answer = await client.post(f"http://{app.public}/feed", params={"data": str(number)})
            assert answer.json() is True
        published.set()

    async def follow(client: httpx.AsyncClient, app: App, count: int) -> None:
        nonlocal last
        headers = {"Last-Event-ID": last} if last else {}
        async with client.stream("GET", f"http://{app.public}/feed", headers=headers) as answer:
            if not seen:
                begun.set()
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "data":
                    seen.append(value)
                    count -= 1
                elif name == "id":
                    last = value
                    if not count:
                        return

    begun = asyncio.Event()
    async with httpx.AsyncClient(timeout=30) as client, asyncio.timeout(60):
        first = asyncio.create_task(follow(client, one, 4))
        await begun.wait()
        publishing = asyncio.create_task(publish(client))
        await first
        for turn in range(14):
            await follow(client, (two, one)[turn % 2], 4)
        await publishing
    assert seen == list(map(str, range(60)))
    for app in (one, two):
        app.process.terminate()
        assert await asyncio.to_thread(app.end) == (0, "")


def test_without_its_library_a_service_with_websockets_says_so(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['websockets'] = sys.modules['wsproto'] = None; import tests.probe.streaming.__main__"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "APP_PORT": "0", "APP_MANAGEMENT_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no library for them: install fastapi-keel[websockets]" in done.stdout + done.stderr
