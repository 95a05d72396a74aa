"""Redirects while the database is away."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fixtures import Logs
from tests.support.outages import IMPATIENT, READ, Load, Traffic, World
from tests.support.proxy import Proxy
from tests.support.servers import PostgreSQL, Valkey

pytestmark = pytest.mark.anyio

Until = Callable[[Callable[[], object]], Awaitable[None]]

LINKS = Traffic("/api/v1/links", lambda: {"url": "https://example.com/"}, "slug", "/{}".format)
FOLLOWED_STALE = "links_followed_stale_total"


@pytest.fixture
def traffic() -> Traffic:
    return LINKS


@pytest.mark.parametrize("fault", ["stop", "silence", "stop with Valkey"])
@pytest.mark.parametrize("own_settings", [IMPATIENT | {"cache_shared_seconds": 0.05}], ids=["short caches"])
async def test_links_are_followed_while_the_database_is_away_for_longer_than_the_caches_keep_them(
    world: World,
    load: Load,
    log_lines: Logs,
    postgresql: PostgreSQL,
    valkey: Valkey,
    between: Proxy,
    until: Until,
    fault: str,
) -> None:
    load.start(readers=0, writers=2)
    await until(lambda: len(load.made) >= READ)
    await load.stop()
    gone = load.made.pop()
    expires_at = datetime.now(UTC) + timedelta(seconds=1)
    soon = {"url": "https://example.com/", "slug": "soon", "expires_at": expires_at.isoformat()}
    assert (await world.client.post("/api/v1/links", json=soon, headers=load.headers)).status_code == 201
    valkey.execute("FLUSHALL")  # as when the marks of their creation are over
    for slug in ("soon", *load.made, gone):
        assert (await world.client.get(f"/{slug}")).status_code == 307
    assert (await world.client.delete(f"/api/v1/links/{gone}", headers=load.headers)).status_code == 204
    assert await world.metric(FOLLOWED_STALE) == 0

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
    assert set(load.read) == {307}
    assert load.slowest < 3
    assert await world.metric(FOLLOWED_STALE) > 400  # the rest was fresh at first
    assert {"stale"} == {line["labels.cache"] for line in log_lines() if "labels.cache" in line}
    while (answer := await world.client.get("/soon")).status_code == 307:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert answer.status_code == 410
    for path in (f"/{gone}", "/unknown"):
        refused = await world.client.get(path)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")

    if fault == "silence":
        between.resume()
    else:
        await asyncio.to_thread(postgresql.start)
    async with asyncio.timeout(20):
        fresh = False
        while not fresh:
            stale = await world.metric(FOLLOWED_STALE)
            assert (await world.client.get(f"/{load.made[0]}")).status_code == 307
            fresh = await world.metric(FOLLOWED_STALE) == stale
            await asyncio.sleep(0.01)  # an answer from memory never gives the loop away
    assert (await world.client.get(f"/{gone}")).status_code == 404
