"""Instances of the service in this process, started as a server starts them."""

import contextlib
from collections.abc import AsyncIterator

import httpx

from keel.service import Apps
from keel.settings import OwnSettings
from tests.app.subject import SERVICE, Settings


@contextlib.asynccontextmanager
async def running(
    settings: Settings, token: str, own: dict[str, OwnSettings] | None = None
) -> AsyncIterator[tuple[Apps, httpx.AsyncClient]]:
    """One of them, and a client with this token."""
    service = SERVICE.build(settings, own)
    transport = httpx.ASGITransport(service.public)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url="https://links.example.com", headers=headers) as client,
    ):
        yield service, client
