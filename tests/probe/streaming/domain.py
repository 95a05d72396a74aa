"""News: a route for each way that an answer, or a conversation, can go on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, Security, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from prometheus_client import Gauge
from starlette.requests import HTTPConnection

from keel.domain import Domain, Feature, NoSettings, Parts
from keel.errors.problems import Problem
from keel.http import routing
from keel.http.events import EventSourceResponse, LastEventId, ServerSentEvent, of_feed
from keel.http.streams import StreamedResponse
from keel.security.auth import Principal, authenticate

READ = "news:read"
LARGE = "x" * 65536


class News(Feature):
    """The news as they run in one process."""

    def __init__(self, parts: Parts, _settings: NoSettings) -> None:
        self.feed = parts.feed("news", kept=100, waiting=20)
        self.watching = Gauge("news_watching", "Generators and handlers that run.", registry=parts.registry)

    def install(self, app: FastAPI) -> None:
        app.state.news = self
        app.include_router(router)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with self.feed.running():
            yield


async def get_news(connection: HTTPConnection) -> News:
    news: News = connection.app.state.news
    return news


Service = Annotated[News, Depends(get_news)]
Reader = Annotated[Principal, Security(authenticate, scopes=[READ])]
router = routing.api_router("", "news")


@router.get("/feed", response_class=EventSourceResponse)
async def follow(news: Service, last: LastEventId = None) -> AsyncIterator[ServerSentEvent]:
    """Follow the news."""
    with news.watching.track_inprogress():
        async for event in of_feed(news.feed, last):
            yield event


@router.post("/feed")
async def publish(news: Service, data: str, event: str | None = None) -> bool:
    """Publish news."""
    return await news.feed.publish(data, event)


@router.get("/ticks", response_class=EventSourceResponse)
async def tick(news: Service, every: float = 0.1, count: int = 1_000_000) -> AsyncIterator[ServerSentEvent]:
    """Count, slowly."""
    with news.watching.track_inprogress():
        for number in range(count):
            yield ServerSentEvent(raw_data=str(number), id=str(number))
            await asyncio.sleep(every)


@router.get("/private", response_class=EventSourceResponse)
async def private(reader: Reader) -> AsyncIterator[ServerSentEvent]:
    """Say who reads. Needs the scope news:read."""
    yield ServerSentEvent(data=reader.subject)


@router.get("/flood", response_class=EventSourceResponse)
async def flood(news: Service) -> AsyncIterator[ServerSentEvent]:
    """Say more than anybody can take."""
    with news.watching.track_inprogress():
        while True:
            yield ServerSentEvent(raw_data=LARGE)


async def _pieces(every: float, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"piece\n"
        await asyncio.sleep(every)


@router.get("/export", response_class=StreamedResponse)
async def export(every: float = 0.1, count: int = 3) -> StreamedResponse:
    """Send what takes long."""
    return StreamedResponse(_pieces(every, count), media_type="text/csv")


@router.get("/ordinary")
async def ordinary(every: float = 0.1, count: int = 3) -> StreamingResponse:
    """Send a body in pieces, which is measured to its end."""
    return StreamingResponse(_pieces(every, count), media_type="text/csv")


@router.get("/half", response_class=StreamedResponse)
async def half() -> StreamedResponse:
    """Send an event in halves, the second one late."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"data: whole\n\ndata: ha"
        await asyncio.Event().wait()

    return StreamedResponse(pieces(), media_type="text/event-stream")


@router.get("/broken", response_class=EventSourceResponse)
async def broken() -> AsyncIterator[ServerSentEvent]:
    """Fail after the first event."""
    yield ServerSentEvent(raw_data="first")
    raise RuntimeError("hunter2")


@router.api_route("/head", methods=["GET", "HEAD"])
async def head() -> StreamedResponse:
    """A stream that may be asked for its head."""
    return StreamedResponse(_pieces(0.1, 1_000_000), media_type="text/event-stream")


@router.get("/plain", response_class=PlainTextResponse)
async def plain(_request: Request) -> str:
    """Answer at once."""
    return "plain"


@router.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str) -> None:
    """Say everything again."""
    await websocket.accept("echo" if "echo" in websocket.scope["subprotocols"] else None)
    while True:
        text = await websocket.receive_text()
        if text == "break":
            raise RuntimeError("hunter2")
        await websocket.send_text(f"{name}: {text}")


@router.websocket("/secret")
async def secret(websocket: WebSocket, reader: Reader) -> None:
    """Say who it is. Needs the scope news:read."""
    await websocket.accept()
    await websocket.send_text(reader.subject)
    await websocket.receive()


@router.websocket("/watch")
async def watch(websocket: WebSocket, news: Service) -> None:
    """Say what is new, and listen to nobody."""
    await websocket.accept()
    with news.watching.track_inprogress():
        async with news.feed.subscribe() as entries:
            async for entry in entries:
                await websocket.send_text(entry.data)


@router.websocket("/late")
async def late(_websocket: WebSocket) -> None:
    """Never answer the handshake."""
    await asyncio.Event().wait()


@router.websocket("/number")
async def number(websocket: WebSocket, number: int) -> None:
    """Refuse what is no number."""
    await websocket.accept()
    await websocket.send_text(str(number))


@router.websocket("/problem/{status}")
async def problem(websocket: WebSocket, status: int) -> None:
    """Accept, and then see a problem."""
    await websocket.accept()
    raise Problem(status, "No.")


@router.websocket("/denied")
async def denied(_websocket: WebSocket) -> None:
    """Refuse with a status."""
    raise HTTPException(402)


@router.websocket("/talk")
async def talk(websocket: WebSocket) -> None:
    """Talk without an end."""
    await websocket.accept()
    while True:
        await websocket.send_text("more")
        await asyncio.sleep(0.01)


@router.websocket("/bye")
async def bye(websocket: WebSocket) -> None:
    """End with a code of its own, and then see a problem."""
    await websocket.accept()
    await websocket.close(4000, "bye")
    raise Problem(409, "Too late.")


@router.websocket("/own")
async def own(websocket: WebSocket) -> None:
    """Refuse with a response of its own."""
    await websocket.send_denial_response(PlainTextResponse("gone", 410))


@router.websocket("/nobody")
async def nobody(websocket: WebSocket) -> None:
    """Refuse all."""
    await websocket.close()


NEWS = Domain(name="news", start=News, development_scopes=(READ,))
