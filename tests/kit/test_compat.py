"""What libraries do not promise to keep, and the kit uses all the same: each is looked for in the version at hand.

A failure names that version, and the module of keel.compat that is to be mended.
"""

import asyncio
import inspect
import socket
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy.pool import AsyncAdaptedQueuePool
from starlette.requests import Request
from starlette.responses import FileResponse
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

import keel
from keel.compat import asyncpg, prometheus_client, sqlalchemy
from keel.compat import fastapi as of_fastapi
from keel.compat import uvicorn as of_uvicorn
from keel.data.database_engine import create_engine
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio


def there(library: str, owner: object, names: Collection[str]) -> None:
    """Fail, and say what to look at, unless an object or a class has all these attributes."""
    name = owner.__name__ if isinstance(owner, type) else type(owner).__name__
    gone = [each for each in names if not hasattr(owner, each)]
    module = f"kit/keel/compat/{library}.py"
    assert not gone, f"{library} {version(library)}: {name} has no {', '.join(gone)} any more: see {module}"


async def status(app: FastAPI, path: str) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return (await client.get(path)).status_code


def test_a_failure_names_the_version_and_the_module() -> None:
    with pytest.raises(AssertionError, match=r"uvicorn \d.*: Server has no nothing any more: see kit/.*/uvicorn.py"):
        there("uvicorn", uvicorn.Server, ["serve", "nothing"])


async def test_uvicorn() -> None:
    config = uvicorn.Config(FastAPI(), log_config=None)
    there("uvicorn", uvicorn.Server(config), of_uvicorn.SERVER)
    there("uvicorn", ServerState(), ["connections", "tasks", "default_headers"])
    protocol = of_uvicorn.HttpToolsProtocol(config, ServerState(), {})
    protocol.on_message_begin()
    there("uvicorn", protocol, of_uvicorn.PROTOCOL)
    websocket = of_uvicorn.websocket_protocol()(config, ServerState(), {})
    there("uvicorn", websocket, set(of_uvicorn.WEBSOCKET) - {"scope"})
    said = f"uvicorn {version('uvicorn')}: no scope of a WebSocket: see kit/keel/compat/uvicorn.py"
    assert "self.scope: " in inspect.getsource(type(websocket)), said
    found = inspect.getsource(RequestResponseCycle)  # what it sets, it sets when it is made
    gone = [name for name in of_uvicorn.CYCLE if f"self.{name}" not in found]
    assert not gone, f"uvicorn {version('uvicorn')}: no {', '.join(gone)}: see kit/keel/compat/uvicorn.py"
    assert of_uvicorn.STATUS_LINE[200].startswith(b"HTTP/1.1 200 ")


def test_nothing_else_of_the_kit_takes_what_uvicorn_keeps_to_itself() -> None:
    kit = Path(keel.__file__).parent
    found = [file.relative_to(kit) for file in kit.rglob("*.py") if "uvicorn.protocols" in file.read_text()]
    assert found == [Path("compat/uvicorn.py")]


async def test_fastapi_tells_the_whole_path_of_an_included_route() -> None:
    inner, app, seen = APIRouter(prefix="/inner"), FastAPI(), []

    @inner.get("/{name}")
    async def read(request: Request) -> None:
        seen.append(of_fastapi.effective_route(request.scope))

    app.include_router(inner, prefix="/outer")
    assert await status(app, "/outer/inner/one") == 200
    said = f"FastAPI {version('fastapi')}: see effective_route in kit/keel/compat/fastapi.py"
    assert [getattr(route, "path_format", None) for route in seen] == ["/outer/inner/{name}"], said
    assert "/outer/inner/{name}" in {context.path_format for context in of_fastapi.iter_route_contexts(app.routes)}, (
        said
    )


async def test_fastapi_has_the_layers_that_ours_stand_in_for() -> None:
    """That no other is left out, tests/kit/test_application.py says."""
    layer: object = FastAPI().build_middleware_stack()
    names = set()
    while layer is not None:
        names.add(type(layer).__name__)
        layer = getattr(layer, "app", None)
    gone = of_fastapi.REPLACED_MIDDLEWARE - names
    assert not gone, f"FastAPI {version('fastapi')}: no {', '.join(gone)}: see kit/keel/compat/fastapi.py"


async def test_fastapi_marks_a_request_that_it_traces() -> None:
    telemetry: TelemetryConfig = {"tracing": True, "tracer_provider": TracerProvider(), "auto_configure": False}
    app, seen = FastAPI(telemetry=telemetry), []

    @app.get("/")
    async def read(request: Request) -> None:
        seen.append(of_fastapi.TELEMETRY in request.scope)

    assert await status(app, "/") == 200
    assert seen == [True], f"FastAPI {version('fastapi')}: see TELEMETRY in kit/keel/compat/fastapi.py"


def test_starlette() -> None:
    there("starlette", FileResponse, ["_parse_range_header"])


async def test_sqlalchemy_and_asyncpg(postgresql_settings: Settings) -> None:
    there("sqlalchemy", AsyncAdaptedQueuePool, ["_do_get"])
    engine = create_engine(postgresql_settings)
    there("sqlalchemy", engine.pool, ["_pool", "_timeout", "_max_overflow"])
    assert isinstance(engine.pool, sqlalchemy.OpenPool)
    limit = postgresql_settings.database_pool_size + postgresql_settings.database_pool_overflow
    assert sqlalchemy.max_connections(engine.pool) == limit
    async with engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        there("asyncpg", driver, ["_transport"])
        assert asyncpg.socket_of(driver).getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await asyncio.wait_for(engine.dispose(), 30)


def test_prometheus_client() -> None:
    registry = CollectorRegistry()
    counter = Counter("things", "Things.", ["kind"], registry=registry)
    said = f"prometheus_client {version('prometheus_client')}: see kit/keel/compat/prometheus_client.py"
    assert prometheus_client.collectors(registry) == {counter}, said
    assert prometheus_client.label_names(counter) == ("kind",), said
    Gauge("size", "Size.", registry=registry, multiprocess_mode="sum")
    assert prometheus_client.gauge_modes(registry) == {"size": "sum"}, said
