import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Message, Scope

from keel.observability import route_template

pytestmark = pytest.mark.anyio


class Noting:
    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.template = ""

    async def get(self, path: str, method: str = "GET") -> str:
        scope: Scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}

        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(_message: Message) -> None:
            pass

        await self.app(scope, receive, send)
        return route_template.template(scope)


async def ok(_request: Request) -> Response:
    return Response()


@pytest.fixture
def app() -> Noting:
    inner, outer, app = APIRouter(prefix="/inner"), APIRouter(), FastAPI()

    @app.get("/items/{item:int}")
    @inner.get("/{item}")
    @inner.get("/twice/{item}")
    async def read(item: str) -> str:
        return item

    outer.include_router(inner, prefix="/v1")
    app.include_router(outer, prefix="/api")
    app.include_router(inner, prefix="/again")
    app.mount("/mounted", Mount("", routes=[Route("/sub/{x}", ok)]))
    app.router.routes.append(Route("/plain", ok))
    return Noting(app)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items/7", "/items/{item}"),
        # FastAPI includes routers lazily, and its scope["route"] then lacks their prefixes.
        *(("/api/v1/inner/7", "/api/v1/inner/{item}"), ("/api/v1/inner/twice/7", "/api/v1/inner/twice/{item}")),
        *(("/again/inner/7", "/again/inner/{item}"), ("/plain", "/plain")),
        *(("/nowhere/at/all", route_template.UNMATCHED), ("/openapi.json", "/openapi.json")),
    ],
)
async def test_the_whole_template_however_routers_are_nested(app: Noting, path: str, template: str) -> None:
    assert await app.get(path) == template


async def test_of_a_route_that_lacks_the_method(app: Noting) -> None:
    assert await app.get("/again/inner/7", "DELETE") == "/again/inner/{item}"


async def test_in_a_mounted_application_it_is_the_template_there(app: Noting) -> None:
    assert await app.get("/mounted/sub/1") == "/sub/{x}"


def test_of_something_that_has_no_path() -> None:
    assert route_template.template({"type": "http", "route": object()}) == route_template.UNMATCHED
    assert route_template.template({"type": "http"}) == route_template.UNMATCHED
