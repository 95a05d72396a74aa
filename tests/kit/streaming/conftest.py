"""Streams and WebSockets are tested by a service of their own (tests.probe.streaming), behind a real server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from keel.http import websockets
from keel.server import Server, listen
from keel.service import Apps
from keel.settings import Settings
from tests.probe.streaming.main import SERVICE
from tests.support.fixtures import Subject

Logs = Callable[[], list[dict[str, Any]]]


class Site:
    """The service behind a server in this process."""

    def __init__(self, apps: Apps, host: str, log_lines: Logs) -> None:
        self.apps = apps
        self.host = host
        self.registry: CollectorRegistry = apps.registry
        self.log_lines = log_lines
        self.client = httpx.AsyncClient(base_url=f"http://{host}", timeout=30)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [line for line in self.log_lines() if line["message"] == message]

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [line for line in self.log_lines() if line["log.level"] == "error"]


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture(scope="session")
def subject() -> Subject:
    return Subject(SERVICE, public_url="https://news.example.com", scope="news:read")


@pytest.fixture
async def serve(settings: Settings, log_lines: Logs) -> AsyncIterator[Serve]:
    """Serves, with these settings besides, until the end of the test."""
    running: list[tuple[Site, Server, asyncio.Task[None]]] = []

    async def serve(**changed: Any) -> Site:
        chosen = type(settings)(**settings.model_dump() | {"public_url": "http://127.0.0.1:8000"} | changed)
        apps = SERVICE.build(chosen)
        listener = listen("127.0.0.1", 0, "APP")
        site = Site(apps, f"127.0.0.1:{listener.getsockname()[1]}", log_lines)
        server = Server(apps.public, chosen, apps.limits, websocket=websockets.protocol())
        running.append((site, server, asyncio.create_task(server.run_on(listener))))
        await server.listening.wait()
        return site

    yield serve
    for site, server, task in running:
        await site.client.aclose()
        server.should_exit = True
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        await task
