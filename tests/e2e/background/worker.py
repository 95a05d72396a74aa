"""A worker of the kit with a queue of its own, in which there is all that can be wrong with tasks.

    python worker.py busy    some of its tasks are done, one fails, and one is of another version
    python worker.py stuck   none is done: one fails, one hangs, others wait, and one is of another version
    python worker.py idle    it can take no task, as the database takes no change of one

It is run by pods, from a ConfigMap.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.schema import CreateTable

from keel.data.database import METADATA, Database
from keel.settings import Settings
from keel.tasks.run import Run
from keel.tasks.store import TaskStore
from keel.tasks.task import Empty, Task
from keel.tasks.worker import Worker

FAIL = Task(name="fail", payload=Empty, attempts=1)
HANG = Task(name="hang", payload=Empty)
DO = Task(name="do", payload=Empty)
UNKNOWN = Task(name="of-another-version", payload=Empty)
NO_CHANGES = "CREATE TRIGGER no_changes BEFORE UPDATE ON tasks BEGIN SELECT RAISE(ABORT, 'no changes'); END"


async def fail(_: Empty, run: Run) -> None:
    raise RuntimeError(f"attempt {run.attempt} fails")


async def hang(_: Empty, _run: Run) -> None:
    await asyncio.Event().wait()


async def do(_: Empty, _run: Run) -> None:
    """Succeed."""


async def work(kind: str, port: int) -> None:
    folder = tempfile.mkdtemp()
    database = Database(Settings(database_url=SecretStr(f"sqlite+aiosqlite:///{Path(folder) / 'tasks.db'}")))
    store = TaskStore(database)
    async with database.transaction() as connection:
        for table in METADATA.sorted_tables:
            await connection.execute(CreateTable(table))
        for task in (FAIL, UNKNOWN, *([] if kind == "busy" else [HANG, HANG])):
            await store.put(connection, task, Empty())
        if kind == "idle":
            await connection.execute(text(NO_CHANGES))
        await connection.commit()
    registry = CollectorRegistry()
    handlers = [(FAIL, fail), (HANG, hang), (DO, do)]
    worker = Worker(store, handlers, [], registry, at_once=1, poll_seconds=1, lease_seconds=30)
    start_http_server(port, registry=registry)
    async with worker.working(lambda: False, 0):
        while True:
            await asyncio.sleep(1)
            if kind == "busy":
                async with database.transaction() as connection:
                    await store.put(connection, DO, Empty())
                    await connection.commit()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 9000))
