from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def requests(log_lines: Logs) -> Logs:
    return lambda: [line for line in log_lines() if line["event"] == "request"]


async def test_one_line_for_a_request(client: httpx.AsyncClient, requests: Logs) -> None:
    await client.get("/unknown?token=secret", headers={"X-Request-ID": "request-1"})
    (line,) = requests()
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "method": "GET",
        "route": "/{slug}",
        "path": "/unknown",
        "status": 404,
        "client": "127.0.0.1",
        "request_id": "request-1",
    }


async def test_a_client_cannot_forge_a_line(client: httpx.AsyncClient, requests: Logs) -> None:
    await client.get('/x%0A{"event":"forged"}%1B[31m')
    (line,) = requests()
    assert line["path"] == '/x\n{"event":"forged"}\x1b[31m'


async def test_a_long_path_is_cut(client: httpx.AsyncClient, requests: Logs) -> None:
    await client.get("/" + "x" * 5000)
    assert len(requests()[0]["path"]) == 256


async def test_probes_are_quiet(management: httpx.AsyncClient, requests: Logs) -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics"):
        await management.get(path)
    assert requests() == []
