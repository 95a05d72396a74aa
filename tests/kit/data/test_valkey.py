import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client import CollectorRegistry

from k8s import certificates
from keel.data import valkey as valkey_module
from keel.data.valkey import Valkey, ValkeyUnavailableError, from_settings
from tests.kit.subject import Settings
from tests.support.proxy import proxy
from tests.support.servers import SLOTS, ValkeyNode, free_port
from tests.support.servers import Valkey as Server

pytestmark = pytest.mark.anyio

Logs = Callable[[], list[dict[str, Any]]]
Connect = Callable[..., Valkey]
Until = Callable[[Callable[[], object]], Awaitable[None]]

SECONDS = 0.25


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def connect(settings: Settings, registry: CollectorRegistry, log_lines: Logs) -> AsyncIterator[Connect]:
    """Makes clients that are closed when the test has ended."""
    del log_lines
    opened: list[Valkey] = []

    def connect(url: str, registry: CollectorRegistry = registry, **others: object) -> Valkey:
        given = {"valkey_url": url, "valkey_timeout_seconds": SECONDS} | others
        client = from_settings(Settings(**settings.model_dump() | given), registry)
        assert client
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
def client(connect: Connect, valkey: Server) -> Valkey:
    return connect(valkey.url)


@pytest.fixture
def quick_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(valkey_module, "BREAK_SECONDS", 0.05)


async def put(client: Valkey, value: str = "value") -> object:
    return await client.call("put", lambda server: server.set("key", value))


async def get(client: Valkey) -> object:
    return await client.call("get", lambda server: server.get("key"))


async def recovered(client: Valkey) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await client.check()
            except ValkeyUnavailableError:
                await asyncio.sleep(0.01)


def calls(registry: CollectorRegistry, operation: str, outcome: str) -> float | None:
    return registry.get_sample_value("valkey_calls_total", {"operation": operation, "outcome": outcome})


def test_without_a_url_there_is_none(settings: Settings, registry: CollectorRegistry) -> None:
    assert from_settings(settings, registry) is None


async def test_answers(client: Valkey, registry: CollectorRegistry) -> None:
    await put(client)
    assert await get(client) == b"value"
    await client.check()
    assert calls(registry, "get", "ok") == 1
    assert registry.get_sample_value("valkey_call_duration_seconds_count", {"operation": "get"}) == 1
    assert registry.get_sample_value("valkey_breaker_open") == 0


async def test_many_at_once_share_few_connections(connect: Connect, valkey: Server) -> None:
    client = connect(valkey.url, valkey_timeout_seconds=30)  # all of them wait at the same time
    await put(client)
    assert await asyncio.gather(*(get(client) for _ in range(200))) == [b"value"] * 200
    assert len(str(valkey.execute("CLIENT", "LIST")).splitlines()) <= 21  # with the one that asks


async def test_a_refusal_is_no_absence(
    client: Valkey, valkey: Server, registry: CollectorRegistry, log_lines: Logs
) -> None:
    valkey.execute("LPUSH", "key", "a list")
    for _ in range(3):
        with pytest.raises(ValkeyUnavailableError, match="WRONGTYPE"):
            await get(client)
    await client.check()
    assert calls(registry, "get", "refused") == 3
    assert len([line for line in log_lines() if line["message"] == "valkey refuses"]) == 1


async def test_refusals_by_turns_are_each_logged_once(client: Valkey, valkey: Server, log_lines: Logs) -> None:
    """As of a full server, which refuses a script with other words than a command."""
    valkey.execute("LPUSH", "key", "a list")
    valkey.execute("SET", "word", "seven")
    for _ in range(3):
        for operation, says in (
            (lambda server: server.get("key"), "WRONGTYPE"),
            (lambda server: server.incr("word"), "not an integer"),
        ):
            with pytest.raises(ValkeyUnavailableError, match=says):
                await client.call("ask", operation)
    assert len([line for line in log_lines() if line["message"] == "valkey refuses"]) == 2


async def test_a_mistake_stays_a_mistake(client: Valkey) -> None:
    with pytest.raises(ZeroDivisionError):
        await client.call("mistake", lambda _: 1 // 0)  # type: ignore[arg-type, return-value]
    await client.check()


async def test_nobody_there(connect: Connect, unused_port: int, registry: CollectorRegistry) -> None:
    client = connect(f"valkey://127.0.0.1:{unused_port}")
    with pytest.raises(ValkeyUnavailableError):
        await client.check()
    assert calls(registry, "check", "unreachable") == 1
    assert registry.get_sample_value("valkey_breaker_open") == 1


async def test_one_that_does_not_answer_costs_one_time_out_and_then_nothing(
    client: Valkey, valkey: Server, registry: CollectorRegistry, log_lines: Logs
) -> None:
    await put(client)
    valkey.pause()
    started = time.perf_counter()
    waiting = await asyncio.gather(*(get(client) for _ in range(50)), return_exceptions=True)
    assert {type(result) for result in waiting} == {ValkeyUnavailableError}
    for _ in range(100):
        with pytest.raises(ValkeyUnavailableError):
            await get(client)
    assert SECONDS <= time.perf_counter() - started < 3 * SECONDS
    assert calls(registry, "get", "timeout") == 50
    assert calls(registry, "get", "skipped") == 100
    assert [line["message"] for line in log_lines()] == ["valkey does not answer: continuing without it"]


@pytest.mark.usefixtures("quick_trials")
async def test_nobody_waits_to_find_out_whether_it_answers_again(
    client: Valkey, valkey: Server, registry: CollectorRegistry
) -> None:
    """One request in each second did, for the whole time-out: of twenty a second that is the 95th percentile."""
    valkey.pause()
    with pytest.raises(ValkeyUnavailableError):
        await get(client)
    slowest = 0.0
    while (calls(registry, "check", "timeout") or 0) < 3:
        began = time.perf_counter()
        with pytest.raises(ValkeyUnavailableError):
            await get(client)
        slowest = max(slowest, time.perf_counter() - began)
        await asyncio.sleep(0)
    assert slowest < SECONDS / 2
    valkey.resume()
    await recovered(client)


async def test_who_insists_asks_nonetheless(client: Valkey, valkey: Server) -> None:
    valkey.pause()
    with pytest.raises(ValkeyUnavailableError):
        await get(client)
    valkey.resume()
    assert await client.call("put", lambda server: server.set("key", "new"), even_if_away=True)
    assert await get(client) == b"new"  # which has told that it answers


@pytest.mark.usefixtures("quick_trials")
async def test_recovers_from_a_pause_with_the_right_answers(client: Valkey, valkey: Server, log_lines: Logs) -> None:
    await put(client, "old")
    await asyncio.gather(*(get(client) for _ in range(10)))  # several connections
    valkey.pause()
    with pytest.raises(ValkeyUnavailableError):
        await get(client)
    valkey.resume()
    await recovered(client)
    await put(client, "new")
    assert await asyncio.gather(*(get(client) for _ in range(10))) == [b"new"] * 10
    assert log_lines()[-1]["message"] == "valkey answers again"


@pytest.mark.usefixtures("quick_trials")
async def test_recovers_from_a_restart(client: Valkey, valkey: Server) -> None:
    await asyncio.gather(*(put(client) for _ in range(10)))
    valkey.stop()
    with pytest.raises(ValkeyUnavailableError):
        await get(client)
    valkey.start()
    await recovered(client)
    assert await asyncio.gather(*(get(client) for _ in range(10))) == [None] * 10


@pytest.mark.usefixtures("quick_trials")
async def test_a_former_primary_is_left(
    client: Valkey, valkey: Server, registry: CollectorRegistry, log_lines: Logs
) -> None:
    """It goes on answering, PING too, and refuses each write for as long as it lives."""

    async def of_connection() -> object:
        return await client.call("id", lambda server: server.client_id())

    before = await of_connection()
    valkey.execute("REPLICAOF", "127.0.0.1", str(free_port()))
    try:
        with pytest.raises(ValkeyUnavailableError, match="it is read-only"):
            await put(client)
        calls = {"operation": "put", "outcome": "read_only"}
        assert registry.get_sample_value("valkey_calls_total", calls) == 1
        async with asyncio.timeout(10):
            while await _refusal(client.check) != valkey_module.REPLICA:  # noqa: ASYNC110  # it is left alone at first
                await asyncio.sleep(0.01)
    finally:
        valkey.execute("REPLICAOF", "NO", "ONE")
    async with asyncio.timeout(10):
        while await _refusal(client.check):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert await of_connection() != before
    assert [line["message"] for line in log_lines()] == [
        "valkey does not answer: continuing without it",
        "valkey answers again",
    ]


async def _refusal(ask: Callable[[], Awaitable[object]]) -> str:
    try:
        await ask()
    except ValkeyUnavailableError as error:
        return str(error)
    return ""


@pytest.fixture
def sentinel(valkey_program: list[str], tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "sentinel.conf").touch()
    server = Server([*valkey_program, str(tmp_path / "sentinel.conf"), "--sentinel"], tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def shard(valkey_program: list[str], tmp_path: Path) -> Iterator[ValkeyNode]:
    """A node of a cluster of two, which has the key b and not the key a."""
    nodes = []
    for slots in (range(SLOTS // 2), range(SLOTS // 2, SLOTS)):
        (directory := tmp_path / str(slots.start)).mkdir()
        nodes.append(ValkeyNode(valkey_program, directory, slots))
        nodes[-1].start()
    nodes[0].join(nodes[1])
    yield nodes[0]
    for node in nodes:
        node.stop()


async def test_a_cluster_of_one_node_is_used(connect: Connect, valkey_cluster: ValkeyNode) -> None:
    client = connect(valkey_cluster.url, valkey_timeout_seconds=30)
    await client.check()
    await put(client)
    assert await get(client) == b"value"


@pytest.mark.usefixtures("quick_trials")
async def test_one_shard_of_several_is_said_to_be_that_and_left_alone(
    connect: Connect, shard: ValkeyNode, registry: CollectorRegistry, log_lines: Logs
) -> None:
    client = connect(shard.url, valkey_timeout_seconds=30)
    with pytest.raises(ValkeyUnavailableError, match="its cluster has several shards"):
        await client.call("get", lambda server: server.get("a"))
    assert calls(registry, "get", "moved") == 1
    async with asyncio.timeout(30):
        while await _refusal(client.check) != valkey_module.SHARDS:  # noqa: ASYNC110  # it is left alone at first
            await asyncio.sleep(0.01)
    for _ in range(3):
        assert await _refusal(client.check) == valkey_module.SHARDS
        with pytest.raises(ValkeyUnavailableError, match="a server that has all keys"):
            await client.call("put", lambda server: server.set("b", "which it has"))
    assert calls(registry, "put", "skipped") == 3
    assert registry.get_sample_value("valkey_breaker_open") == 1
    told = [line for line in log_lines() if line["message"] == "valkey refuses"]
    assert [line["labels.cause"] for line in told] == [valkey_module.SHARDS]


async def test_a_sentinel_is_said_to_be_one_until_the_address_leads_to_the_primary(
    connect: Connect, sentinel: Server, valkey: Server, registry: CollectorRegistry, tmp_path: Path
) -> None:
    file = tmp_path / "app_valkey_url"
    file.write_text(sentinel.url)
    client = connect(sentinel.url, secrets_dir=tmp_path, valkey_timeout_seconds=30)
    assert await _refusal(client.check) == valkey_module.SENTINEL
    with pytest.raises(ValkeyUnavailableError, match="to the primary"):
        await put(client)
    assert calls(registry, "put", "skipped") == 1
    file.write_text(valkey.url)
    await client.check()
    await put(client)
    assert registry.get_sample_value("valkey_breaker_open") == 0


async def test_a_user_who_may_not_ask_for_roles_is_answered_too(client: Valkey, valkey: Server) -> None:
    valkey.execute("ACL", "SETUSER", "default", "-role")
    try:
        await client.check()
    finally:
        valkey.execute("ACL", "SETUSER", "default", "+role")


async def test_a_restart_between_two_calls_is_not_noticed(client: Valkey, valkey: Server) -> None:
    await put(client)
    await asyncio.to_thread(valkey.stop)
    await asyncio.to_thread(valkey.start)
    assert await get(client) is None


@pytest.mark.usefixtures("quick_trials")
async def test_after_a_black_hole_one_trial_is_enough(
    connect: Connect, valkey: Server, registry: CollectorRegistry
) -> None:
    async with proxy(valkey.port) as between:
        client = connect(valkey.url.replace(str(valkey.port), str(between.port)))
        await asyncio.gather(*(put(client) for _ in range(10)))
        between.stall()
        with pytest.raises(ValkeyUnavailableError):
            await get(client)
        between.serve_new_ones()
        before = between.connections
        await recovered(client)
        assert await asyncio.gather(*(get(client) for _ in range(10))) == [b"value"] * 10
        assert between.connections > before
        assert calls(registry, "check", "timeout") is None


async def test_who_hangs_up_does_not_leave_its_answer_to_the_next(
    connect: Connect, valkey: Server, until: Until
) -> None:
    async with proxy(valkey.port) as between:
        client = connect(valkey.url.replace(str(valkey.port), str(between.port)))
        await put(client, "mine")
        asked = between.round_trips
        between.stall()
        asking = asyncio.create_task(get(client))
        await until(lambda: between.round_trips > asked)
        asking.cancel()
        between.resume()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await client.call("get", lambda server: server.get("other")) is None


@pytest.mark.usefixtures("quick_trials")
async def test_a_new_password_is_read_from_the_file(connect: Connect, valkey: Server, tmp_path: Path) -> None:
    file = tmp_path / "app_valkey_url"
    file.write_text(valkey.url + "\n")
    client = connect(valkey.url, secrets_dir=tmp_path)
    await put(client)
    before = valkey.password
    try:
        valkey.change_password("another")
        await put(client)  # the open connection stays
        valkey.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(ValkeyUnavailableError):
            await get(client)
        file.write_text(valkey.url)
        await recovered(client)
        assert await get(client) == b"value"
    finally:
        valkey.change_password(before)


async def test_tls_with_the_authority_s_certificate_only(
    connect: Connect, valkey_server: Server, tmp_path: Path
) -> None:
    authority = certificates.ensure_authority(tmp_path)
    pair = certificates.ensure_server(tmp_path, "valkey", ["localhost"], authority)
    options = {"tls_cert_file": pair.certificate, "tls_key_file": pair.key, "tls_auth_clients": "no"}
    port = free_port()
    server = Server(valkey_server.program, tmp_path, tls_port=port, **options)
    server.start()
    try:
        url = f"valkeys://:{server.password}@localhost:{port}/0"
        trusting = f"?ssl_ca_certs={authority.certificate}"
        await connect(url + trusting).check()
        for doubtful in (url, url.replace("localhost", "127.0.0.1") + trusting):
            with pytest.raises(ValkeyUnavailableError, match="certificate verify failed"):
                await connect(doubtful, CollectorRegistry()).check()
    finally:
        server.stop()


async def test_each_call_is_a_span(connect: Connect, valkey: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(valkey_module, "get_tracer", provider.get_tracer)
    client = connect(valkey.url)
    await put(client, "secret value")
    valkey.stop()
    with pytest.raises(ValkeyUnavailableError):
        await get(client)
    with pytest.raises(ValkeyUnavailableError):
        await get(client)  # which is not made, and no span
    good, bad = exporter.get_finished_spans()
    assert (good.name, good.kind, good.status.status_code) == ("put", SpanKind.CLIENT, StatusCode.UNSET)
    assert good.attributes == {"db.system.name": "valkey", "db.operation.name": "put"}
    assert bad.attributes == {"db.system.name": "valkey", "db.operation.name": "get", "error.type": "unreachable"}
    assert bad.status.status_code is StatusCode.ERROR
