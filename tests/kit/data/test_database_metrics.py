from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keel.data.database import Database, DatabaseUnavailableError
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def database(postgresql_settings: Settings, registry: CollectorRegistry) -> AsyncIterator[Database]:
    given = {"database_pool_size": 1, "database_pool_overflow": 1, "database_pool_timeout_seconds": 0.05}
    quick = {"database_statement_timeout_seconds": 0.1}
    database = Database(postgresql_settings.model_copy(update=given | quick), registry)
    yield database
    await database.close()


async def run(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))
        await connection.commit()


async def test_statements_are_timed_by_kind(database: Database, registry: CollectorRegistry) -> None:
    def count(kind: str) -> float | None:
        return registry.get_sample_value("database_statement_duration_seconds_count", {"kind": kind})

    assert count("select") == count("other") == 0
    await run(
        database,
        "CREATE TABLE numbers (number INTEGER)",
        "INSERT INTO numbers VALUES (1)",
        "UPDATE numbers SET number = 2",
        "select * FROM numbers",
        "DELETE FROM numbers",
    )
    assert [count(kind) for kind in ("insert", "update", "delete")] == [1] * 3
    assert count("select") == 2  # a transaction begins with one
    assert (count("other") or 0) >= 1
    with pytest.raises(DBAPIError):
        await run(database, "SELECT no_such_function()")
    with pytest.raises(DatabaseUnavailableError):
        await run(database, "SELECT pg_sleep(30)")
    assert count("select") == 6
    assert 0.1 < (registry.get_sample_value("database_statement_duration_seconds_sum", {"kind": "select"}) or 0) < 5


async def test_why_it_was_unavailable_is_counted(database: Database, registry: CollectorRegistry) -> None:
    def count(reason: str) -> float | None:
        return registry.get_sample_value("database_unavailable_total", {"reason": reason})

    assert [count(reason) for reason in ("statement_timeout", "pool_timeout", "unreachable")] == [0, 0, 0]
    with pytest.raises(DatabaseUnavailableError):
        await run(database, "SELECT pg_sleep(30)")
    async with database.transaction():
        with pytest.raises(DatabaseUnavailableError):
            await run(database, "SELECT 1")
    async with database.reading(), database.reading():
        with pytest.raises(DatabaseUnavailableError):
            await run(database, "SELECT 1")
    assert [count(reason) for reason in ("statement_timeout", "pool_timeout", "unreachable")] == [1, 2, 0]


async def test_the_pool(database: Database, registry: CollectorRegistry) -> None:
    def connections() -> list[float | None]:
        states = ({"state": state} for state in ("in_use", "idle"))
        return [registry.get_sample_value("database_pool_connections", state) for state in states]

    assert connections() == [0, 0]
    async with database.reading():
        assert connections() == [1, 0]
    assert connections() == [0, 1]
    assert registry.get_sample_value("database_pool_size") == 1
    assert registry.get_sample_value("database_pool_limit") == 2
    assert registry.get_sample_value("database_connection_wait_seconds_count") == 1


async def test_sqlite_is_measured_too(settings: Settings, registry: CollectorRegistry) -> None:
    database = Database(settings, registry)
    await run(database, "SELECT 1")
    assert registry.get_sample_value("database_pool_connections", {"state": "idle"}) == 1
    await database.close()
