"""PgBouncer in transaction mode between the service and its database, as CloudNativePG, Supabase and others have it."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from keel.data import migrate
from keel.data.database import Database, DatabaseUnavailableError
from tests.kit.subject import SERVICE, Settings
from tests.support.servers import PgBouncer, PostgreSQL
from toolkit import versions
from toolkit.unpacked import Unpacked

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[0, 200], ids=["without prepared statements", "with prepared statements"])
def pooler(request: pytest.FixtureRequest, postgresql: PostgreSQL) -> Iterator[PgBouncer]:
    program = Unpacked(versions.load().packages["pgbouncer"]).obtain("pgbouncer")
    if program is None:
        pytest.fail("These tests need pgbouncer on the PATH: install it, as with apt-get install pgbouncer.")
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as directory:
        Path(directory).chmod(0o755)
        found = PgBouncer(program, Path(directory), postgresql, max_prepared_statements=request.param)
        try:
            found.start()
            yield found
        finally:
            found.stop()


@pytest.fixture
def through(pooler: PgBouncer, postgresql_settings: Settings) -> Settings:
    url = pooler.url(str(postgresql_settings.database.database))
    return Settings(**postgresql_settings.model_dump() | {"database_url": url, "database_pooler": "transaction"})


async def test_migrations_exclude_each_other_and_leave_nothing_behind(
    through: Settings, postgresql: PostgreSQL
) -> None:
    """A session's lock stays with the pooler's connection: the second and the third migration found it taken."""
    few = through.model_copy(update={"migrate_wait_seconds": 30})
    for _ in range(3):
        await migrate.migrate(few)
    await asyncio.gather(*(migrate.migrate(few) for _ in range(2)))
    assert postgresql.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").strip() == "0"


async def test_many_at_once(through: Settings, mint: Callable[..., str]) -> None:
    """Of PgBouncer 1.24 without prepared statements 177 of 240 answers were 500."""
    await migrate.migrate(through)
    service = SERVICE.build(through)
    transport = httpx.ASGITransport(service.public, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {mint(scope='things:read things:write')}"}
    async with (
        service.public.router.lifespan_context(service.public),
        httpx.AsyncClient(transport=transport, base_url="https://probe.example.com", headers=headers) as client,
    ):

        async def visit(name: str) -> list[int]:
            made = await client.post("/api/v1/things", json={"name": name})
            read = await client.get(f"/api/v1/things/{name}")
            listed = await client.get("/api/v1/things")
            missed = await client.get(f"/api/v1/things/no-{name}")
            return [made.status_code, read.status_code, listed.status_code, missed.status_code]

        visits = await asyncio.gather(*(visit(f"thing-{n}") for n in range(60)))
    assert Counter(status for each in visits for status in each) == {201: 60, 200: 120, 404: 60}


async def test_time_outs_are_the_transactions(through: Settings) -> None:
    await migrate.migrate(through)
    quick = through.model_copy(update={"database_statement_timeout_seconds": 0.2})
    database = Database(quick)
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with database.reading() as reading:
                await reading.execute(text("SELECT pg_sleep(30)"))
        async with database.transaction() as connection:
            assert await connection.scalar(text("SHOW statement_timeout")) == "200ms"
        await database.check()
    finally:
        await database.close()


async def test_without_the_setting_the_pooler_says_what_it_does_not_take(
    through: Settings, log_lines: Callable[[], list[dict[str, object]]]
) -> None:
    database = Database(through.model_copy(update={"database_pooler": "none"}))
    try:
        with pytest.raises(DatabaseUnavailableError):
            async with database.reading():
                pass
    finally:
        await database.close()
    assert "unsupported startup parameter: statement_timeout" in str(log_lines())
    assert "APP_DATABASE_POOLER" in str(log_lines())
