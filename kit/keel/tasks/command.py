"""`python -m app tasks`: what an operator wants to see of the queue, and what to do about failed tasks."""

from collections.abc import Sequence
from dataclasses import asdict

from keel.data.database import Database
from keel.settings import Settings
from keel.tasks.store import TaskStore

SHOWN = 100


async def report(settings: Settings, retry: Sequence[str], drop: Sequence[str]) -> dict[str, object]:
    """The tasks by name and the oldest failed ones, after retrying and dropping some; ready for JSON.

    Raises:
        DatabaseUnavailableError: the database cannot be used.
    """
    database = Database(settings)
    store = TaskStore(database)
    try:
        done: dict[str, object] = {}
        if retry:
            done["retried"] = await store.try_again(retry)
        if drop:
            done["dropped"] = await store.drop(drop)
        counts = {name: asdict(count) for name, count in sorted((await store.counts()).items())}
        failed = [asdict(task) for task in await store.failed(SHOWN)]
    finally:
        await database.close()
    return {**done, "tasks": counts, "failed": failed}
