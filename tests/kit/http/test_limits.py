"""Limits that routes declare for themselves, asked of a real server."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keel.domain import Domain, Feature
from keel.http.docs import OPENAPI_URL
from keel.http.limits import LimitedRoutes, Limits, limits
from keel.product import Product
from keel.server import Server, listen
from keel.service import Service
from tests.support.problems import check_problem

pytestmark = pytest.mark.anyio


class Rooms(Feature):
    """Routes with limits of their own, and without."""

    def __init__(self, *_: object) -> None:
        self.go_on = asyncio.Event()
        self.entered = 0

    def install(self, app: FastAPI) -> None:
        router = APIRouter(prefix="/rooms")

        @router.get("/none")
        async def none() -> None:
            await asyncio.Event().wait()

        @router.get("/short")
        @limits(seconds=0.05)
        async def short() -> None:
            await asyncio.Event().wait()

        @limits(seconds=5)
        @router.get("/long")
        async def long() -> str:
            await asyncio.sleep(1.1)
            return "long"

        @router.get("/{name}")
        @router.head("/{name}")
        @limits(max_concurrent=2, seconds=60)
        async def few(name: str) -> str:
            self.entered += 1
            await self.go_on.wait()
            return name

        @router.post("/large")
        @limits(max_body_bytes=100_000, seconds=2)
        async def large(request: Request) -> int:
            return len(await request.body())

        @router.post("/small")
        @limits(max_body_bytes=10)
        async def small(request: Request) -> int:
            return len(await request.body())

        @router.post("/usual")
        async def usual(request: Request) -> int:
            return len(await request.body())

        app.include_router(router, prefix="/api")


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


@pytest.fixture
async def client(rooms: Rooms, log_lines: Any) -> AsyncIterator[httpx.AsyncClient]:
    del log_lines
    service = Service(Product(tokens=False), [Domain(name="rooms", start=lambda *_: rooms)])
    with listen("127.0.0.1", 0, "APP") as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings = service.settings(public_url=url, request_timeout_seconds=1)
        apps = service.build(settings)
        server = Server(apps.public, settings, apps.limits)
        serving = asyncio.create_task(server.run_on(listener))
        await server.listening.wait()
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield client
        server.should_exit = True
        await serving


async def test_a_route_has_less_time_or_more(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/rooms/short")
    check_problem(answer, 503, "Service Unavailable")
    assert answer.json()["detail"] == "The request took longer than 0.05 seconds. Try again soon."
    assert (await client.get("/api/rooms/long")).json() == "long"
    answer = await client.get("/api/rooms/none")
    check_problem(answer, 503, "Service Unavailable")
    assert "longer than 1 seconds" in answer.json()["detail"]


async def test_the_first_route_that_matches_decides(client: httpx.AsyncClient) -> None:
    """/none matches /{name} too, whose limits would let it finish."""
    assert (await client.get("/api/rooms/none")).status_code == 503


async def test_no_more_at_once_in_a_route(client: httpx.AsyncClient, rooms: Rooms, until: Any) -> None:
    waiting = [asyncio.create_task(client.get(f"/api/rooms/a{number}")) for number in range(2)]
    await until(lambda: rooms.entered == 2)
    for method in ("GET", "HEAD"):  # two routes of one endpoint
        refused = await client.request(method, "/api/rooms/b")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    check_problem(await client.get("/api/rooms/b"), 503, "Service Unavailable")
    assert "This operation is at its concurrency limit" in (await client.get("/api/rooms/b")).text
    assert (await client.get("/api/rooms/long")).status_code == 200
    rooms.go_on.set()
    assert [(await task).status_code for task in waiting] == [200, 200]
    assert [(await client.get(f"/api/rooms/{name}")).json() for name in "abc"] == ["a", "b", "c"]


@pytest.mark.parametrize(("room", "most"), [("large", 100_000), ("small", 10), ("usual", 65536)])
@pytest.mark.parametrize("declared", [True, False])
async def test_a_route_takes_larger_bodies_or_smaller(
    client: httpx.AsyncClient, room: str, most: int, declared: bool
) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        for at in range(0, size, 1000):
            yield b"x" * min(1000, size - at)

    async def ask(size: int) -> httpx.Response:
        return await client.post(f"/api/rooms/{room}", content=b"x" * size if declared else chunks(size))

    assert (await ask(most)).json() == most
    answer = await ask(most + 1)
    check_problem(answer, 413, "Content Too Large")
    assert answer.json()["detail"] == f"The body exceeds {most} bytes."


async def test_a_body_may_take_long_but_must_not_stall(client: httpx.AsyncClient) -> None:
    async def dripping(pause: float, times: int) -> AsyncIterator[bytes]:
        for _ in range(times):
            yield b"x"
            await asyncio.sleep(pause)

    assert (await client.post("/api/rooms/large", content=dripping(0.1, 12))).json() == 12  # longer than others have
    answer = await client.post("/api/rooms/large", content=dripping(1.5, 2))
    check_problem(answer, 408, "Request Timeout")
    assert answer.json()["detail"] == "No part of the body arrived for 1 seconds."
    answer = await client.post("/api/rooms/large", content=dripping(0.1, 25))
    check_problem(answer, 408, "Request Timeout")
    assert answer.json()["detail"] == "The body did not arrive within 2 seconds."


async def test_the_document_says_so(client: httpx.AsyncClient) -> None:
    paths = (await client.get(OPENAPI_URL)).json()["paths"]
    own = paths["/api/rooms/large"]["post"]["responses"]
    assert example(own["413"]) == "The body exceeds 100000 bytes."
    assert example(own["408"]) == "The body did not arrive within 2 seconds."
    assert paths["/api/rooms/usual"]["post"]["responses"]["413"] == {"$ref": "#/components/responses/413"}


def example(response: Any) -> str:
    return str(response["content"]["application/problem+json"]["example"]["detail"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"seconds": 0}, "seconds must be a number of seconds above 0, and is 0."),
        ({"seconds": float("nan")}, "seconds must be a number of seconds above 0, and is nan."),
        ({"seconds": float("inf")}, "seconds must be a number of seconds above 0, and is inf."),
        ({"seconds": "5"}, "seconds must be a number of seconds above 0, and is '5'."),
        ({"seconds": True}, "seconds must be a number of seconds above 0, and is True."),
        ({"max_body_bytes": -1}, "max_body_bytes must be a whole number above 0, and is -1."),
        ({"max_body_bytes": 1.5}, "max_body_bytes must be a whole number above 0, and is 1.5."),
        ({"max_concurrent": 0}, "max_concurrent must be a whole number above 0, and is 0."),
        ({}, "it sets no limit: name seconds, max_body_bytes or max_concurrent."),
    ],
)
def test_mistakes_are_found_when_the_service_is_built(values: dict[str, Any], said: str) -> None:
    class Wrong(Feature):
        def __init__(self, *_: object) -> None:
            pass

        def install(self, app: FastAPI) -> None:
            @app.put("/wrong/{name}")
            @limits(**values)
            async def wrong(name: str) -> str:
                return name

    service = Service(Product(tokens=False), [Domain(name="wrong", start=Wrong)])
    with pytest.raises(ValueError, match=r"^The limits of PUT /wrong/\{name\}: ") as raised:
        service.build(service.settings())
    assert str(raised.value).endswith(said)


def test_in_a_mounted_application_they_would_have_no_effect() -> None:
    inner, outer = FastAPI(), FastAPI()
    router = APIRouter()

    @router.get("/name")
    @limits(seconds=1)
    async def name() -> None: ...

    inner.include_router(router, prefix="/deep")
    outer.mount("/inner", inner)
    with pytest.raises(ValueError, match=r"The limits of /inner/deep/name have no effect, as .* with include_router"):
        LimitedRoutes().collect(outer)


def test_which_route_is_found() -> None:
    app = FastAPI()
    own = limits(seconds=1)

    async def endpoint() -> None: ...

    @own
    async def plain(_request: Request) -> PlainTextResponse:
        return PlainTextResponse("plain")

    async def socket(_websocket: WebSocket) -> None: ...

    app.add_api_route("/things/usual", endpoint)
    app.add_api_websocket_route("/things/{name}", socket)
    app.mount("/things/mounted", FastAPI())
    app.router.routes.append(Route("/plain", plain))
    app.add_api_route("/things/{name}", own(lambda name: name), methods=["GET", "PUT"])
    app.add_api_route("/behind", endpoint)
    routes = LimitedRoutes()
    assert not routes
    routes.collect(app)
    assert routes

    def found(method: str, path: str, **more: str) -> Limits | None:
        limited = routes.find({"type": "http", "method": method, "path": path, **more})
        return None if limited is None else limited.declared

    assert found("GET", "/things/page") == Limits(seconds=1)
    assert found("PUT", "/things/usual") == Limits(seconds=1)  # the first one is only for GET
    assert found("HEAD", "/plain") == Limits(seconds=1)
    assert found("GET", "/root/things/page", root_path="/root") == Limits(seconds=1)
    for method, path in (
        ("GET", "/things/usual"),
        ("POST", "/things/page"),
        ("GET", "/things/mounted/page"),
        ("GET", "/behind"),
        ("GET", "/nothing"),
    ):
        assert found(method, path) is None, path
