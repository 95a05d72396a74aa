"""The kit is tested by a service that is about nothing (tests.probe)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from keel.server import Server, listen
from keel.service import Apps
from tests.files.domain import FilesSettings
from tests.files.main import SERVICE as FILES_SERVICE
from tests.kit.subject import SERVICE
from tests.support.fixtures import Subject


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://probe.example.com", scope="things:write")


@pytest.fixture(autouse=True)
def clean(clean_environment: None, clean_logging: None) -> None:
    """No test finds what is the developer's, or what another one has left."""


@dataclass(frozen=True)
class FileServer:
    """The service of files (tests.files) behind a real server."""

    apps: Apps
    server: Server
    directory: Path
    port: int

    @property
    def left(self) -> list[str]:
        """The names of all files that it has."""
        return sorted(path.name for path in self.directory.iterdir())

    async def send(self, *pieces: bytes) -> bytes:
        """Send bytes over a connection, end it, and return what is answered until the server ends it too."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def files(log_lines: Callable[[], object], tmp_path: Path) -> AsyncIterator[FileServer]:
    del log_lines
    directory = tmp_path / "files"
    with listen("127.0.0.1", 0, "APP") as listener:
        port = listener.getsockname()[1]
        settings = FILES_SERVICE.settings(
            public_url=f"http://127.0.0.1:{port}", rate_limit_address_per_minute=0, request_timeout_seconds=2
        )
        apps = FILES_SERVICE.build(settings, {"files": FilesSettings(directory=directory)})
        server = Server(apps.public, settings, apps.limits)
        serving = asyncio.create_task(server.run_on(listener))
        await server.listening.wait()
        yield FileServer(apps, server, directory, port)
        server.should_exit = True
        await serving


@pytest.fixture
async def files_client(files: FileServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{files.port}/api/v1", timeout=30) as client:
        yield client
