"""Workers as processes, on PostgreSQL: what is lost when they die."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from keel.data import migrate
from keel.data.database import Database
from keel.settings import Settings
from keel.tasks.store import TaskStore
from tests.probe.domain import MARK, MARKS, NewMark
from tests.support.processes import ROOT, App

pytestmark = pytest.mark.anyio

TASKS = 300
Start = Callable[..., App]


@pytest.fixture
def variables(postgresql_settings: Settings) -> dict[str, str]:
    return {
        "APP_DATABASE_URL": postgresql_settings.database_url.get_secret_value(),
        "APP_TASKS_POLL_SECONDS": "0.05",
        "APP_TASKS_LEASE_SECONDS": "3",
        "APP_LOG_FORMAT": "json",
    }


async def put(settings: Settings, count: int, seconds: float = 0.0) -> None:
    await migrate.migrate(settings)
    database = Database(settings)
    async with database.transaction() as connection:
        for number in range(count):
            await TaskStore(database).put(connection, MARK, NewMark(number=number, seconds=seconds))
        await connection.commit()
    await database.close()


async def marks(settings: Settings) -> list[int]:
    database = Database(settings)
    async with database.reading() as connection:
        found = (await connection.execute(select(MARKS.c.number).order_by(MARKS.c.number))).scalars().all()
    await database.close()
    return list(found)


async def wait_for(settings: Settings, count: int) -> None:
    database = Database(settings)
    async with asyncio.timeout(60), database.reading() as connection:
        while await connection.scalar(select(func.count()).select_from(MARKS)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await database.close()


async def test_killed_workers_lose_no_task_and_do_none_twice(
    start: Start, postgresql_settings: Settings, variables: dict[str, str]
) -> None:
    await put(postgresql_settings, TASKS, seconds=0.05)
    first, second = (start(command="work", **variables) for _ in range(2))
    await wait_for(postgresql_settings, TASKS // 10)
    first.kill()
    third = start(command="work", **variables)
    await wait_for(postgresql_settings, TASKS // 2)
    second.kill()
    await wait_for(postgresql_settings, TASKS)
    assert await marks(postgresql_settings) == list(range(TASKS))
    third.process.send_signal(signal.SIGTERM)
    assert third.end()[0] == 0


async def test_a_drained_worker_finishes_what_it_has_begun(
    start: Start, postgresql_settings: Settings, variables: dict[str, str]
) -> None:
    await put(postgresql_settings, 8, seconds=1)
    worker = start(command="work", **variables)
    await asyncio.to_thread(lambda: worker.until_metric('tasks_running{task="mark"} 4.0'))
    worker.process.send_signal(signal.SIGTERM)
    assert (await asyncio.to_thread(worker.end))[0] == 0
    assert len(await marks(postgresql_settings)) == 4


async def test_a_service_runs_its_tasks_itself_unless_others_do(
    start: Start, postgresql_settings: Settings, variables: dict[str, str]
) -> None:
    await put(postgresql_settings, 3)
    idle = start(**variables, APP_TASKS_AT_ONCE="0")
    assert "task_attempts_total" not in idle.text("/metrics")
    start(**variables)
    await wait_for(postgresql_settings, 3)


def test_a_worker_that_would_run_nothing_says_so(variables: dict[str, str], tmp_path: Path) -> None:
    done = run(["work"], variables | {"APP_TASKS_AT_ONCE": "0"}, tmp_path)
    assert (done.returncode, "APP_TASKS_AT_ONCE" in done.stderr) == (2, True)


async def test_failed_tasks_are_listed_and_can_run_again(
    postgresql_settings: Settings, variables: dict[str, str], tmp_path: Path
) -> None:
    await put(postgresql_settings, 2)
    database = Database(postgresql_settings)
    store = TaskStore(database)
    for taken in await store.take(["mark"], 2, 30):
        await store.give_up(taken, "no paper")
    await database.close()
    told = json.loads(run(["tasks"], variables, tmp_path).stdout)
    assert told["tasks"] == {"mark": {"waiting": 0, "failed": 2, "oldest_seconds": 0.0}}
    assert {task["error"] for task in told["failed"]} == {"no paper"}
    first, second = (task["id"] for task in told["failed"])
    told = json.loads(run(["tasks", "--retry", first, "--drop", second], variables, tmp_path).stdout)
    assert told == {
        "retried": 1,
        "dropped": 1,
        "tasks": {"mark": {"waiting": 1, "failed": 0, "oldest_seconds": pytest.approx(0, abs=30)}},
        "failed": [],
    }


def test_without_its_tables_the_command_says_what_to_do(variables: dict[str, str], tmp_path: Path) -> None:
    done = run(["tasks"], variables, tmp_path)
    assert done.returncode == 1
    assert "does not have the schema of this version" in done.stderr


def run(arguments: list[str], variables: dict[str, str], directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.probe", *arguments],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
