"""The whole application under load while its servers are stopped, restarted, slow or silent."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.support.fixtures import Logs
from tests.support.outages import IMPATIENT, READ, Load, Traffic, World
from tests.support.proxy import Proxy
from tests.support.servers import PostgreSQL, Valkey

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]

THINGS = Traffic("/api/v1/things", lambda: {"name": uuid4().hex}, "name", "/api/v1/things/{}".format)
READ_STALE = "things_read_stale_total"
SHARED_HITS = 'cache_requests_total{cache="things",layer="shared",result="hit"}'


@pytest.fixture
def traffic() -> Traffic:
    return THINGS


@pytest.mark.parametrize("fault", ["restart", "silence"])
async def test_the_database_is_gone_and_comes_back_under_load(
    world: World, load: Load, postgresql: PostgreSQL, between: Proxy, until: Until, fault: str
) -> None:
    load.start(readers=8, writers=4)
    await until(lambda: load.written[201] >= 20 and load.read[200] >= 20)
    if fault == "restart":
        await asyncio.to_thread(postgresql.stop)
    else:
        between.stall()
    await until(lambda: load.written[503] >= 8)
    await world.until_ready("degraded")
    if fault == "restart":
        await asyncio.to_thread(postgresql.start)
    else:
        between.resume()
    acknowledged = load.written[201]
    await until(lambda: load.written[201] >= acknowledged + 20)
    await world.until_ready()
    await load.stop()

    assert set(load.written) == {201, 503}
    assert set(load.read) <= {200, 503}
    assert load.without_retry_after == 0
    assert load.slowest < 4
    async with world.connection() as connection:
        stored = set((await connection.scalars(text("SELECT name FROM things"))).all())
    assert stored >= set(load.made)
    await world.until_no_connection_is_in_use()


@pytest.mark.parametrize("fault", ["stop", "silence", "stop with Valkey"])
@pytest.mark.parametrize("own_settings", [IMPATIENT | {"cache_shared_seconds": 0.05}], ids=["short caches"])
async def test_things_are_read_while_the_database_is_away_for_longer_than_the_caches_keep_them(
    world: World,
    load: Load,
    log_lines: Logs,
    postgresql: PostgreSQL,
    valkey: Valkey,
    between: Proxy,
    until: Until,
    mint: Callable[..., str],
    fault: str,
) -> None:
    load.start(readers=0, writers=2)
    await until(lambda: len(load.made) >= READ)
    await load.stop()
    gone = load.made.pop()
    valkey.execute("FLUSHALL")  # as when the marks of their creation are over
    for name in (*load.made, gone):
        assert (await world.client.get(f"/api/v1/things/{name}")).json()["stale"] is False
    admin = {"Authorization": f"Bearer {mint(scope='things:admin')}"}
    assert (await world.client.delete(f"/api/v1/things/{gone}", headers=admin)).status_code == 204
    assert await world.metric(READ_STALE) == 0

    if fault == "silence":
        between.stall()
    else:
        await asyncio.to_thread(postgresql.stop)
    if fault == "stop with Valkey":
        await asyncio.to_thread(valkey.stop)
    load.start(readers=8, writers=0)
    read = load.read.total()
    await until(lambda: load.read.total() >= read + 500)
    await load.stop()
    assert set(load.read) == {200}
    assert load.slowest < 3
    assert await world.metric(READ_STALE) > 400  # the rest was fresh at first
    assert {"stale"} == {line["labels.cache"] for line in log_lines() if "labels.cache" in line}
    assert (await world.client.get(f"/api/v1/things/{load.made[0]}")).json()["stale"] is True
    for name in (gone, "unknown"):
        refused = await world.client.get(f"/api/v1/things/{name}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

    if fault == "silence":
        between.resume()
    else:
        await asyncio.to_thread(postgresql.start)
    async with asyncio.timeout(20):
        fresh = False
        while not fresh:
            stale = await world.metric(READ_STALE)
            assert (await world.client.get(f"/api/v1/things/{load.made[0]}")).status_code == 200
            fresh = await world.metric(READ_STALE) == stale
            await asyncio.sleep(0.01)  # an answer from memory never gives the loop away
    assert (await world.client.get(f"/api/v1/things/{gone}")).status_code == 404


async def test_a_locked_table_is_not_waited_for_and_takes_no_connection_away(
    world: World, load: Load, until: Until
) -> None:
    async with world.connection() as connection:
        await connection.execute(text("LOCK TABLE things IN ACCESS EXCLUSIVE MODE"))
        started = time.perf_counter()
        answers = await asyncio.gather(*(world.client.get(f"/api/v1/things/unknown{number}") for number in range(30)))
        assert time.perf_counter() - started < 2
        assert {answer.status_code for answer in answers} == {503}
        assert (await world.client.get("/")).status_code == 200
        assert await world.ready() == "ok"  # other pods would wait for the same lock
    assert (await world.client.get("/api/v1/things/unknown")).status_code == 404
    assert await world.metric('database_unavailable_total{reason="statement_timeout"}') > 0
    await world.until_no_connection_is_in_use()
    load.start(readers=0, writers=1)
    await until(lambda: load.written[201])


async def test_writers_that_wait_for_a_lock_do_not_hold_up_the_readers(world: World, load: Load, until: Until) -> None:
    load.start(readers=0, writers=1)
    await until(lambda: load.written[201])
    await load.stop()
    async with world.connection() as connection:
        await connection.execute(text("LOCK TABLE things IN SHARE MODE"))  # reads go on, writes wait
        load.start(readers=4, writers=30)
        await until(lambda: load.written[503] >= 30)
        await load.stop()
    assert set(load.read) == {200}


@pytest.mark.parametrize("fault", ["stop", "pause"])
@pytest.mark.parametrize("own_settings", [{}], ids=["patient"])
async def test_valkey_is_gone_and_comes_back_under_load(
    world: World, load: Load, valkey: Valkey, until: Until, fault: str
) -> None:
    load.start(readers=8, writers=2)
    await until(lambda: load.written[201] >= 20 and load.read[200] >= 50)
    if fault == "stop":
        await asyncio.to_thread(valkey.stop)
    else:
        valkey.pause()
    await world.until_ready("degraded")
    reads, writes = load.read[200], load.written[201]
    await until(lambda: load.read[200] > reads + 50 and load.written[201] > writes + 4)
    assert await world.metric('cache_requests_total{cache="things",layer="shared",result="unavailable"}') > 0
    assert await world.metric("valkey_breaker_open") == 1
    if fault == "stop":
        await asyncio.to_thread(valkey.start)
    else:
        valkey.resume()
    await world.until_ready()
    hits = await world.metric(SHARED_HITS)
    async with asyncio.timeout(20):
        while await world.metric(SHARED_HITS) <= hits:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await load.stop()
    assert (set(load.read), set(load.written)) == ({200}, {201})
    assert load.slowest < 2
