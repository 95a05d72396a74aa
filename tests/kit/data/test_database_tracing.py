from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keel.data import database_tracing
from keel.data.database import Database
from keel.data.database_tracing import summary
from tests.kit.subject import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("statement", "short"),
    [
        ("SELECT things.url \nFROM things \nWHERE things.slug = $1::VARCHAR", "SELECT things"),
        ("INSERT INTO things (slug) VALUES ($1) RETURNING things.slug", "INSERT things"),
        ("UPDATE things SET clicks=$1 WHERE slug = $2", "UPDATE things"),
        ("DELETE FROM ONLY things WHERE slug = 'secret'", "DELETE things"),
        ("select a from one where b in (select c from two where d = (select e from one))", "SELECT one two"),
        ("SELECT 1", "SELECT"),
        ("BEGIN", "BEGIN"),
        (" ", ""),
    ],
)
def test_a_statement_in_short(statement: str, short: str) -> None:
    assert summary(statement) == short


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(database_tracing, "get_tracer", provider.get_tracer)
    return exporter


@pytest.fixture
async def database(postgresql_settings: Settings, exporter: InMemorySpanExporter) -> AsyncIterator[Database]:
    del exporter  # it must be there first
    database = Database(postgresql_settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"}))
    yield database
    await database.close()


async def read(database: Database, statement: str, **values: Any) -> object:
    async with database.reading() as connection:
        return await connection.scalar(text(statement), values)


async def test_each_statement_is_a_span_without_its_values(
    database: Database, exporter: InMemorySpanExporter, postgresql_settings: Settings
) -> None:
    await read(database, "SELECT 1")
    exporter.clear()
    await read(database, "SELECT relname FROM pg_class WHERE relname = :name", name="secret")
    with pytest.raises(DBAPIError):
        await read(database, "SELECT no_such_function('secret')")
    good, bad = exporter.get_finished_spans()
    url = postgresql_settings.database
    attributes = {"db.system.name": "postgresql", "server.address": "127.0.0.1", "db.namespace": url.database}
    assert (good.name, good.kind, good.status.status_code) == ("SELECT pg_class", SpanKind.CLIENT, StatusCode.UNSET)
    assert good.attributes == attributes | {"db.query.summary": good.name, "db.operation.name": "SELECT"}
    assert bad.status.status_code is StatusCode.ERROR
    assert bad.attributes
    assert bad.attributes["error.type"] == "42883"
    assert not bad.events
    assert "secret" not in good.to_json() + bad.to_json()


async def test_without_a_collector_there_is_no_span(settings: Settings, exporter: InMemorySpanExporter) -> None:
    database = Database(settings)
    await read(database, "SELECT 1")
    await database.close()
    assert not exporter.get_finished_spans()


async def test_that_there_is_no_connection_is_no_span(
    settings: Settings, exporter: InMemorySpanExporter, unused_port: int
) -> None:
    url = f"postgresql://things@127.0.0.1:{unused_port}/things"
    given = {"database_url": url, "otlp_endpoint": "http://127.0.0.1:9"}
    database = Database(Settings(**settings.model_dump() | given))
    with pytest.raises(Exception, match="503"):
        await read(database, "SELECT 1")
    await database.close()
    assert not exporter.get_finished_spans()
