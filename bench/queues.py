"""`make bench-tasks`: the queue of tasks beside procrastinate, on one PostgreSQL, with one worker each.

A task does nothing, so what is measured is the queue: to put a task in a transaction of its own, as a request does,
and to take, run and delete tasks. The two take turns in every round; the figures are medians of the rounds.
"""

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import procrastinate
import structlog
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr

from bench.candidates import ROOT
from dev.servers import PostgreSQL
from keel.data.database import METADATA, Database
from keel.product import Product
from keel.settings import settings_of
from keel.tasks.run import Run
from keel.tasks.store import TaskStore
from keel.tasks.task import Task
from keel.tasks.worker import Worker

REPORT = ROOT / "build/report/tasks.json"
PASSWORD = "secret"  # noqa: S105  # of a server that lives as long as the run
LEAST = 1.5  # tasks/s, of procrastinate's
PUT_SHARE = 10  # one of so many tasks is put in a transaction of its own


def say(line: str) -> None:
    """Without rich: with it installed, structlog imports it, and `make bench` would measure that."""
    print(line, flush=True)


class Payload(BaseModel):
    """What a task carries."""

    number: int


@dataclass(frozen=True)
class Result:
    put: float
    """Tasks put a second, each in a transaction of its own."""
    done: float
    """Tasks done a second."""
    cpu_us: float
    """CPU time of the worker's process for each."""


class Count:
    """Waits for a number of tasks."""

    def __init__(self, tasks: int) -> None:
        self.left = tasks
        self.none_left = asyncio.Event()

    def down(self) -> None:
        self.left -= 1
        if not self.left:
            self.none_left.set()


async def ours(url: str, tasks: int, at_once: int) -> Result:
    """The kit's queue."""
    settings = settings_of(Product())(database_url=SecretStr(url))
    database = Database(settings)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    store, job, count = TaskStore(database), Task(name="job", payload=Payload), Count(tasks)

    async def handler(_payload: Payload, _run: Run) -> None:
        count.down()

    async def put(numbers: range) -> None:
        async with database.transaction() as connection:
            for number in numbers:
                await store.put(connection, job, Payload(number=number))
            await connection.commit()

    alone = tasks // PUT_SHARE
    put_seconds = await timed(lambda: each(alone, put))
    await put(range(alone, tasks))
    worker = Worker(
        store, [(job, handler)], [], CollectorRegistry(), at_once=at_once, poll_seconds=0.5, lease_seconds=30
    )

    async def work() -> None:
        async with worker.working(lambda: False, drain_seconds=30):
            await count.none_left.wait()

    cpu = time.process_time()
    seconds = await timed(work)
    cpu = time.process_time() - cpu
    assert not await store.counts()  # noqa: S101  # or it has measured something else
    await database.close()
    return Result(alone / put_seconds, tasks / seconds, cpu / tasks * 1e6)


async def theirs(url: str, tasks: int, at_once: int) -> Result:
    """procrastinate's, with its connector for asyncio, and tasks deleted as ours are."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    count = Count(tasks)

    @app.task(name="job")
    async def job(number: int) -> None:
        del number
        count.down()

    async def put(numbers: range) -> None:
        for number in numbers:
            await job.defer_async(number=number)

    async def work() -> None:
        await app.run_worker_async(
            concurrency=at_once, wait=False, install_signal_handlers=False, delete_jobs="successful"
        )

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        alone = tasks // PUT_SHARE
        put_seconds = await timed(lambda: each(alone, put))
        await job.batch_defer_async(*({"number": number} for number in range(alone, tasks)))
        cpu = time.process_time()
        seconds = await timed(work)
        cpu = time.process_time() - cpu
    assert not count.left  # noqa: S101  # likewise
    return Result(alone / put_seconds, tasks / seconds, cpu / tasks * 1e6)


async def each(tasks: int, put: Callable[[range], Awaitable[None]]) -> None:
    """Put each of so many tasks by itself."""
    for number in range(tasks):
        await put(range(number, number + 1))


async def timed(work: Callable[[], Awaitable[None]]) -> float:
    """How many seconds it takes."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def median(results: list[Result]) -> dict[str, float]:
    """Of each figure by itself."""
    rounds = [asdict(result) for result in results]
    return {figure: round(statistics.median(each[figure] for each in rounds), 1) for figure in rounds[0]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.queues", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=4000, help="in each round of each queue (default: 4000)")
    parser.add_argument("--at-once", type=int, default=20, help="most tasks that a worker runs at once (default: 20)")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # a line for each task would be measured, too
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    candidates = {"ours": ours, "procrastinate": theirs}
    results: dict[str, list[Result]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory(prefix="postgresql-") as data:
        postgresql = PostgreSQL(Path(data), password=PASSWORD)
        postgresql.create()
        postgresql.start()
        try:
            for number in range(options.rounds):
                for name, measure in candidates.items():
                    say(f"round {number + 1} of {options.rounds}: {name}")
                    postgresql.execute(f"CREATE DATABASE {name}_{number}")
                    url = postgresql.url(f"{name}_{number}")
                    results[name].append(asyncio.run(measure(url, options.tasks, options.at_once)))
        finally:
            postgresql.stop("immediate")
    medians = {name: median(found) for name, found in results.items()}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(medians, indent=2) + "\n")
    for name, found in medians.items():
        told = f"{found['put']:.0f} put/s, {found['done']:.0f} done/s, {found['cpu_us']:.0f} µs of CPU for each"
        say(f"{name:13} {told}")
    ratio = medians["ours"]["done"] / medians["procrastinate"]["done"]
    say(f"{'met' if ratio >= LEAST else 'MISSED'}: tasks/s, of procrastinate {ratio:.2f}, bar {LEAST:g}")
    return 0 if ratio >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
