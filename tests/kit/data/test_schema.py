import asyncio

import httpx
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from keel.data import migrate, schema
from keel.observability.probes import NotFitError
from tests.kit.subject import MIGRATIONS, SERVICE, Settings

KNOWN = ["0001", "0002", "0003"]


def test_the_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory(str(migrate.ENVIRONMENT), version_locations=[str(MIGRATIONS)])
    assert schema.known_revisions(MIGRATIONS) == [each.revision for each in scripts.walk_revisions()][::-1]
    assert scripts.get_current_head() == schema.known_revisions(MIGRATIONS)[-1]


@pytest.mark.parametrize(
    ("found", "works_from", "sentence"),
    [
        ([], None, "it has no schema, and this version needs revision 0003: run python -m tests.probe migrate"),
        (["0001"], None, "it is at revision 0001, and this version needs 0003: run python -m tests.probe migrate"),
        (["0002", "0003"], "0001", r"it is at several revisions \(0002, 0003\)"),
        (["0009"], None, "it is at revision 0009, which this version does not work with: deploy a newer one"),
        (["0009"], "0008", "it is at revision 0009, which this version does not work with: deploy a newer one"),
    ],
)
def test_what_does_not_fit(found: list[str], works_from: str | None, sentence: str) -> None:
    with pytest.raises(NotFitError, match=sentence):
        schema.judge(found, works_from, KNOWN, "python -m tests.probe migrate")


@pytest.mark.parametrize(("found", "works_from"), [(["0003"], None), (["0003"], "0001"), (["0009"], "0002")])
def test_what_fits(found: list[str], works_from: str | None) -> None:
    schema.judge(found, works_from, KNOWN, "python -m tests.probe migrate")


@pytest.mark.anyio
async def test_a_pod_is_ready_once_the_schema_is_there(either: Settings) -> None:
    """And says so when it changes later, but stays ready: all pods would leave at once."""
    settings = either.model_copy(update={"check_interval_seconds": 0.05})
    service = SERVICE.build(settings)
    service.health.started = True
    management = httpx.AsyncClient(transport=httpx.ASGITransport(service.management), base_url="http://management")

    async def ready() -> tuple[int, str]:
        answer = await management.get("/readyz")
        return answer.status_code, answer.json()["checks"]["database"]

    async def says(status: int, sentence: str) -> None:
        async with asyncio.timeout(20):
            while (found := await ready())[0] != status or sentence not in found[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async with management, service.public.router.lifespan_context(service.public):
        await says(503, "it has no schema, and this version needs revision")
        await migrate.migrate(settings)
        await says(200, "ok")
        head = schema.known_revisions(MIGRATIONS)[-1]
        assert f'\nschema_revision{{revision="{head}"}} 1.0' in (await management.get("/metrics")).text
        engine = create_async_engine(settings.database)
        async with engine.begin() as connection:
            await connection.execute(text("UPDATE alembic_version SET version_num = 'newer'"))
            await connection.execute(text("UPDATE schema_compatibility SET works_from = 'newer'"))
        await engine.dispose()
        await says(200, "it is at revision newer, which this version does not work with")
        assert '\nschema_revision{revision="newer"} 1.0' in (await management.get("/metrics")).text
        assert f'schema_revision{{revision="{head}"}}' not in (await management.get("/metrics")).text
