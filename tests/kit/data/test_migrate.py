import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from keel.data import migrate
from keel.data.database_engine import create_engine
from keel.data.migrate import LOCK, MigrationError
from tests.kit.subject import MIGRATIONS, PRODUCT, SERVICE, Settings
from tests.support import migrations
from toolkit.paths import ROOT

pytestmark = pytest.mark.anyio

REVISIONS = len(list(MIGRATIONS.glob("*.py")))

Logs = Callable[[], list[dict[str, Any]]]
Until = Callable[[Callable[[], object]], Awaitable[None]]


@pytest.fixture(autouse=True)
def quiet(log_lines: Logs) -> Logs:
    return log_lines


async def on(settings: Settings, do: Callable[[Connection], Any]) -> Any:
    engine = create_engine(settings)
    async with engine.connect() as connection:
        result = await connection.run_sync(do)
    await engine.dispose()
    return result


async def test_makes_the_tables_once(either: Settings, log_lines: Logs) -> None:
    await migrate.migrate(either)
    await migrate.migrate(either)
    assert "things" in await on(either, lambda sync: inspect(sync).get_table_names())
    assert len([line for line in log_lines() if line["message"].startswith("Running upgrade")]) == REVISIONS


async def test_the_tables_are_those_of_the_models(either: Settings) -> None:
    await migrate.migrate(either)
    found = migrations.differences(SERVICE, either)
    assert found == ("['idempotency_keys', 'marks', 'schema_compatibility', 'task_schedules', 'tasks', 'things']", "[]")


async def test_a_difference_would_be_seen(settings: Settings) -> None:
    await migrate.migrate(settings)
    await on(settings, lambda sync: sync.execute(text("ALTER TABLE things DROP COLUMN owner")))
    assert "Column('owner'" in migrations.differences(SERVICE, settings)[1]


async def test_there_is_a_way_back(either: Settings) -> None:
    await migrate.migrate(either)
    assert await migrations.taken_back(either) == ["alembic_version"]


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[None]]:
    """Migrates a database as a later version does, whose migrations follow on ours."""
    head = ScriptDirectory(str(migrate.ENVIRONMENT), version_locations=[str(MIGRATIONS)]).get_current_head()

    async def migrate_further(settings: Settings, **works_from: str) -> None:
        shutil.copytree(MIGRATIONS, tmp_path / "migrations")
        before = head
        for revision, oldest in works_from.items():
            text = f'revision, down_revision, works_from = "{revision}", "{before}", "{oldest}"\ndef upgrade(): pass\n'
            (tmp_path / "migrations" / f"{revision}.py").write_text(text)
            before = revision
        with monkeypatch.context() as patch:
            patch.setattr(type(settings), "product", replace(PRODUCT, migrations=tmp_path / "migrations"))
            await migrate.migrate(settings)

    return migrate_further


async def test_an_older_version_is_deployed_after_migrations_that_it_survives(
    either: Settings, newer: Callable[..., Awaitable[None]], log_lines: Logs
) -> None:
    await newer(either, next="0001", last="0001")
    await migrate.migrate(either)
    (line,) = (line for line in log_lines() if line["message"].startswith("the database is newer"))
    assert (line["log.level"], line["labels.revision"]) == ("warning", "last")


async def test_but_not_after_one_that_it_does_not(either: Settings, newer: Callable[..., Awaitable[None]]) -> None:
    """Whatever came after that says of itself."""
    await newer(either, breaks="breaks", last="0001")
    with pytest.raises(
        MigrationError, match=r"at revision last, .* needs code of revision breaks or later. Deploy a n"
    ):
        await migrate.migrate(either)


async def test_nor_in_somebody_elses_database(either: Settings) -> None:
    def claim(sync: Connection) -> None:
        sync.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        sync.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
        sync.commit()

    await on(either, claim)
    with pytest.raises(MigrationError, match=r"at revision theirs, .* needs the code that made it"):
        await migrate.migrate(either)


async def test_from_any_directory(
    settings: Settings, log_lines: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    await migrate.migrate(settings)
    assert "Running upgrade  -> 0001, Things, and what the kit keeps." in [line["message"] for line in log_lines()]


async def test_at_once_in_many_places(postgresql_settings: Settings, log_lines: Logs) -> None:
    await asyncio.gather(*(migrate.migrate(postgresql_settings) for _ in range(4)))
    assert len([line for line in log_lines() if line["message"].startswith("Running upgrade")]) == REVISIONS


async def test_waits_for_another_migration(
    postgresql_settings: Settings, log_lines: Logs, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "POLL_SECONDS", 0.01)
    engine = create_engine(postgresql_settings)
    async with engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        waiting = asyncio.create_task(migrate.migrate(postgresql_settings))
        await until(lambda: "waiting for another migration" in str(log_lines()))
        assert not waiting.done()
        await connection.execute(text(f"SELECT pg_advisory_unlock({LOCK})"))
    await waiting
    await engine.dispose()


async def test_but_not_for_ever(postgresql_settings: Settings) -> None:
    hasty = postgresql_settings.model_copy(update={"migrate_wait_seconds": 0})
    engine = create_engine(hasty)
    async with engine.connect() as connection:
        await connection.execute(text(f"SELECT pg_advisory_lock({LOCK})"))
        with pytest.raises(MigrationError, match="Another migration has held the database's lock for 0 s"):
            await migrate.migrate(hasty)
    await engine.dispose()
    await migrate.migrate(hasty)


async def test_waits_for_a_database_that_is_not_there_but_not_for_ever(
    settings: Settings, unused_port: int, log_lines: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "POLL_SECONDS", 0.01)
    url = f"postgresql://things:hunter2@127.0.0.1:{unused_port}/things"
    absent = Settings(**settings.model_dump() | {"database_url": url, "migrate_wait_seconds": 0.05})
    with pytest.raises(MigrationError, match=r"cannot connect to postgresql\+asyncpg://things:\*\*\*@") as raised:
        await migrate.migrate(absent)
    assert "within 0.05 s" in str(raised.value)
    assert len([line for line in log_lines() if line["message"] == "waiting for the database"]) > 1
    assert "hunter2" not in f"{raised.value}{log_lines()}"


async def test_a_wrong_password_is_told(postgresql_settings: Settings) -> None:
    url = postgresql_settings.database.set(password="wrong").render_as_string(hide_password=False)
    wrong = Settings(**postgresql_settings.model_dump() | {"database_url": url, "migrate_wait_seconds": 0})
    with pytest.raises(MigrationError, match="password authentication failed"):
        await migrate.migrate(wrong)


async def test_a_file_that_cannot_be_opened_is_told_at_once(settings: Settings, tmp_path: Path) -> None:
    nowhere = Settings(**settings.model_dump() | {"database_url": f"sqlite:///{tmp_path}/no/such/things.db"})
    with pytest.raises(MigrationError, match="unable to open database file"):
        await migrate.migrate(nowhere)


async def test_a_long_migration_is_not_cut_by_the_statement_timeout(postgresql_settings: Settings) -> None:
    """The service's own connections have one; those of a migration must not."""
    seen = []

    async def look(engine: Any, product: object) -> None:
        del product
        async with engine.connect() as connection:
            seen.append(await connection.scalar(text("SHOW statement_timeout")))

    original, migrate.upgrade = migrate.upgrade, look
    try:
        await migrate.migrate(postgresql_settings)
    finally:
        migrate.upgrade = original
    assert seen == ["0"]


def test_a_server_loads_neither_alembic_nor_what_it_is_not_configured_for() -> None:
    heavy = {"alembic", "asyncpg", "sqlalchemy.orm", "sqlite3", "valkey", "opentelemetry.sdk"}
    code = f"import sys, keel.server; sys.exit(', '.join(sorted({heavy} & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.strip() == ""
