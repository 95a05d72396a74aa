import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from fastapi import Request

from keel.observability import access_log, logs
from keel.server import Server, address, listen
from keel.service import Apps
from tests.kit.subject import SERVICE, Settings

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def requests(log_lines: Logs) -> Logs:
    def requests() -> list[dict[str, Any]]:
        assert logs.output is not None
        logs.output.writer.flush()
        return [line for line in log_lines() if line["log.logger"] == "app.access"]

    return requests


async def test_one_line_for_a_request(client: httpx.AsyncClient, requests: Logs) -> None:
    headers = {"X-Request-ID": "request-1", "User-Agent": "test/1", "Traceparent": TRACEPARENT}
    answer = await client.get("/api/v1/things/unknown?token=secret", headers=headers)
    (line,) = requests()
    assert 0 < line.pop("event.duration") < 10 * 1e9  # nanoseconds
    assert datetime.now(UTC) - datetime.fromisoformat(line.pop("@timestamp")) < timedelta(seconds=10)
    assert {name: value for name, value in line.items() if not name.startswith(("service.", "ecs."))} == {
        "log.level": "info",
        "log.logger": "app.access",
        "message": "GET /api/v1/things/unknown 404",
        "event.category": ["web"],
        "event.type": ["access"],
        "event.outcome": "success",
        "http.request.method": "GET",
        "http.request.id": "request-1",
        "http.request.body.bytes": 0,
        "http.response.status_code": 404,
        "http.response.body.bytes": len(answer.content),
        "http.route": "/api/v1/things/{name}",
        "url.path": "/api/v1/things/unknown",
        "url.domain": "probe.example.com",
        "user_agent.original": "test/1",
        "client.address": "127.0.0.1",
        "trace.id": TRACEPARENT.split("-")[1],
    }
    assert {"service.name", "service.version", "service.environment", "ecs.version"} < set(line)


async def test_every_field_is_documented(writer: httpx.AsyncClient, requests: Logs) -> None:
    await writer.get("/api/v1/things", headers={"Host": "probe.example.com:8443"})
    (line,) = requests()
    page = (Path(__file__).parents[3] / "docs" / "logs.md").read_text(encoding="utf-8")
    assert {"user.id", "url.port", "http.request.id"} < set(line)
    assert set(line) <= set(re.findall(r"`([a-z_@.]+)`", page.partition("## On the local cluster")[0]))


@pytest.mark.parametrize(
    ("host", "domain", "port"),
    [
        ("probe.example.com:8443", "probe.example.com", 8443),
        ("[2001:db8::1]:80", "[2001:db8::1]", 80),
        ("[2001:db8::1]", "[2001:db8::1]", None),
        ("probe.example.com:http", "probe.example.com:http", None),
        ("user:hunter2@probe.example.com:443", "probe.example.com", 443),
    ],
)
async def test_name_and_port_are_fields_of_their_own(
    client: httpx.AsyncClient, requests: Logs, host: str, domain: str, port: int | None
) -> None:
    """https://www.elastic.co/docs/reference/ecs/ecs-url"""
    await client.get("/", headers={"Host": host})
    (line,) = requests()
    assert (line["url.domain"], line.get("url.port")) == (domain, port)


async def test_what_was_sent_is_counted(writer: httpx.AsyncClient, requests: Logs) -> None:
    body = b'{"name": "page"}'
    await writer.post("/api/v1/things", content=body, headers={"Content-Type": "application/json"})
    assert requests()[0]["http.request.body.bytes"] == len(body)


async def test_who_asked_is_told_if_a_token_said_so(service: Apps, client: httpx.AsyncClient, requests: Logs) -> None:
    class Principal:
        subject = "alice"

    async def whoami(request: Request) -> None:
        request.scope["state"]["principal"] = Principal()

    service.public.add_api_route("/whoami/now", whoami)
    await client.get("/whoami/now")
    await client.get("/api/v1/things/unknown")
    assert [line.get("user.id") for line in requests()] == ["alice", None]


async def test_who_was_refused_is_told(client: httpx.AsyncClient, mint: Callable[..., str], requests: Logs) -> None:
    for token in (mint(scope="things:read"), mint(exp=1), ""):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        await client.post("/api/v1/things", json={"name": "page"}, headers=headers)
    told = [(line["http.response.status_code"], line.get("user.id"), line["client.address"]) for line in requests()]
    assert told == [(403, "alice", "127.0.0.1"), (401, None, "127.0.0.1"), (401, None, "127.0.0.1")]


async def test_errors_of_ours_are_errors(service: Apps, client: httpx.AsyncClient, requests: Logs) -> None:
    async def fail() -> None:
        raise RuntimeError

    service.public.add_api_route("/fail/now", fail)
    await client.get("/fail/now")
    await client.get("/a/b/c")
    told = [(line["log.level"], line["event.outcome"], line["http.response.status_code"]) for line in requests()]
    assert told == [("error", "failure", 500), ("info", "success", 404)]


async def test_a_higher_level_leaves_errors_only(service: Apps, client: httpx.AsyncClient, requests: Logs) -> None:
    async def fail() -> None:
        raise RuntimeError

    service.public.add_api_route("/fail/now", fail)
    logs.set_level("warning")
    await client.get("/api/v1/things/unknown")
    await client.get("/fail/now")
    assert [line["http.route"] for line in requests()] == ["/fail/now"]


async def test_a_client_cannot_forge_a_line_nor_drive_a_terminal(client: httpx.AsyncClient, requests: Logs) -> None:
    await client.get('/x%0A{"event":"forged"}%1B[31m%C2%85%E2%80%A8%E2%80%AE%ff', headers={b"User-Agent": b"a\x85\x9b"})
    (line,) = requests()
    assert line["url.path"] == '/x\n{"event":"forged"}\x1b[31m\x85\u2028\u202e\ufffd'
    assert line["user_agent.original"] == "a\x85\x9b"


async def test_secrets_in_a_path_or_in_a_user_agent_are_not_told(client: httpx.AsyncClient, requests: Logs) -> None:
    agent = {"User-Agent": "x http://u:hunter2@h"}
    await client.get(f"/login/{JWT}?access_token=hunter2", headers=agent | {"Authorization": "Bearer hunter2hunter2"})
    await client.get("/password=hunter2/x", headers={"Cookie": "session=hunter2", "Host": "token=hunter2"})
    assert requests()[0]["url.path"] == "/login/[REDACTED]"
    assert requests()[0]["user_agent.original"] == "x http://[REDACTED]@h"
    assert requests()[0]["message"] == "GET /login/[REDACTED] 404"
    assert JWT not in str(requests())
    assert "hunter2" not in str(requests())


async def test_no_client_can_make_a_line_long(client: httpx.AsyncClient, requests: Logs) -> None:
    huge = "%01" * 3000
    headers = [(b"User-Agent", "\x85" * 4000), (b"Host", "\xff" * 3000), (b"X-Request-ID", "x" * 128)]
    await client.request("M" * 1000, f"/{huge}", headers=[(name, value.encode("latin-1")) for name, value in headers])
    (line,) = requests()
    assert len(line["url.path"]) == 256
    assert len(json.dumps(line)) < 8192


async def test_probes_are_quiet(management: httpx.AsyncClient, requests: Logs) -> None:
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/log-level"):
        await management.get(path)
    assert requests() == []


async def test_a_line_comes_after_the_lines_of_its_request(
    service: Apps, client: httpx.AsyncClient, log_lines: Logs, requests: Logs
) -> None:
    async def tell() -> None:
        structlog.get_logger("app.x").info("inside")

    service.public.add_api_route("/tell/now", tell)
    await client.get("/tell/now")
    await client.get("/tell/now")
    assert len(requests()) == 2
    told = [line for line in log_lines() if line["log.logger"] in ("app.x", "app.access")]
    assert [line["log.logger"] for line in told] == ["app.x", "app.access"] * 2
    ids = [line["http.request.id"] for line in told]
    assert ids[0] == ids[1] != ids[2] == ids[3]


async def test_on_a_terminal_it_is_short(
    client: httpx.AsyncClient, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(settings.model_copy(update={"log_format": "console"}))
    await client.get("/x%1B", headers={"X-Request-ID": "request-1"})
    assert logs.output is not None
    logs.output.writer.flush()
    (line,) = (
        line for line in capsys.readouterr().out.splitlines() if "httpx" not in line and "HTTP Request" not in line
    )
    assert "GET /x\\x1b 404" in line
    assert "request_id=request-" in line
    assert len(line) < 100


async def test_unconfigured_logs_are_no_obstacle(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "output", None)
    assert (await client.get("/")).status_code == 200


@asynccontextmanager
async def listening(settings: Settings) -> AsyncIterator[str]:
    """A real server, as it stands behind a proxy."""
    service = SERVICE.build(settings)
    server = Server(service.public, settings, service.limits)
    with listen("127.0.0.1", 0, "APP") as listener:
        task = asyncio.create_task(server.run_on(listener))
        await server.listening.wait()
        try:
            yield address(listener)
        finally:
            server.should_exit = True
            await task


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "logged"),
    [
        ("127.0.0.1", "127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client sent, the proxy extended
        ("127.0.0.1,10.0.0.0/8", "127.0.0.1", "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("10.0.0.0/8, 127.0.0.0/30", "127.0.0.2", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "127.0.0.2", "203.0.113.9", "127.0.0.2"),  # not a proxy of ours
        ("10.0.0.0/8", "127.0.0.1", "203.0.113.9", "127.0.0.1"),
        ("127.0.0.0/30", "127.0.0.5", "203.0.113.9", "127.0.0.5"),
        ("127.0.0.1", "127.0.0.1", "x" * 5000, "x" * 256),  # a proxy that passes on anything
        ("127.0.0.1", "127.0.0.1", "", "127.0.0.1"),
    ],
)
async def test_only_a_trusted_proxy_says_who_the_client_is(
    settings: Settings, requests: Logs, trusted: str, peer: str, forwarded: str, logged: str
) -> None:
    async with listening(settings.model_copy(update={"trusted_proxies": trusted})) as url:
        transport = httpx.AsyncHTTPTransport(local_address=peer)
        async with httpx.AsyncClient(transport=transport) as client:
            await client.get(f"{url}/", headers={"X-Forwarded-For": forwarded})
    assert [line["client.address"] for line in requests()] == [logged]


async def test_what_is_remembered_of_clients_is_short(client: httpx.AsyncClient) -> None:
    access_log._client.cache_clear()
    for end in range(3):
        await client.get("/", headers={"User-Agent": "x" * access_log.MAX_CHARACTERS + str(end)})
    logs.output.writer.flush()  # type: ignore[union-attr]
    assert access_log._client.cache_info().currsize == 1
