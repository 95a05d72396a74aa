import asyncio

import pytest

from keel.data.database import Database
from keel.tasks.store import LostLeaseError, Taken, TaskStore
from keel.tasks.task import Empty, Task
from tests.probe.domain import MARK, NewMark

pytestmark = pytest.mark.anyio

OTHER = Task(name="other", payload=Empty)


@pytest.fixture
def store(database: Database) -> TaskStore:
    return TaskStore(database)


async def put(store: TaskStore, number: int = 1, key: str | None = None, delay_seconds: float = 0) -> bool:
    async with store.database.transaction() as connection:
        done = await store.put(connection, MARK, NewMark(number=number), key=key, delay_seconds=delay_seconds)
        await connection.commit()
    return done


async def take(store: TaskStore, limit: int = 10, lease_seconds: float = 30) -> list[Taken]:
    return await store.take([MARK.name], limit, lease_seconds)


async def finish(store: TaskStore, taken: Taken) -> None:
    async with store.database.transaction() as connection:
        await store.finish(connection, taken)
        await connection.commit()


async def test_a_task_is_taken_once_and_gone_when_it_is_done(store: TaskStore) -> None:
    await put(store, 7)
    (taken,) = await take(store)
    assert (taken.name, taken.payload, taken.attempt) == ("mark", '{"number":7,"seconds":0.0}', 1)
    assert await take(store) == []
    await finish(store, taken)
    assert await store.counts() == {}


async def test_a_task_whose_transaction_is_rolled_back_never_was(store: TaskStore) -> None:
    async with store.database.transaction() as connection:
        assert await store.put(connection, MARK, NewMark(number=1))
    assert await store.counts() == {}


async def test_a_key_puts_one_task_until_that_is_done_or_has_failed(store: TaskStore) -> None:
    assert await put(store, key="once")
    assert not await put(store, key="once")
    (taken,) = await take(store)
    assert not await put(store, key="once"), "while it is running"
    await finish(store, taken)
    assert await put(store, key="once")
    (taken,) = await take(store)
    await store.give_up(taken, "broken")
    assert await put(store, key="once")


async def test_the_oldest_due_ones_are_taken_first_and_no_more_than_wanted(store: TaskStore) -> None:
    for number in range(5):
        await put(store, number)
    await put(store, 9, delay_seconds=60)
    first, second = await take(store, 3), await take(store, 3)
    assert len(first) == 3
    numbers = [NewMark.model_validate_json(taken.payload).number for taken in first + second]
    assert sorted(numbers[:3]) == [0, 1, 2]
    assert sorted(numbers[3:]) == [3, 4]


async def test_concurrent_processes_never_take_the_same_task(store: TaskStore) -> None:
    for number in range(60):
        await put(store, number)
    batches = await asyncio.gather(*(take(store, 5) for _ in range(12)))
    assert all(len(batch) <= 5 for batch in batches)
    rest = await take(store, 100)
    ids = [taken.id for batch in (*batches, rest) for taken in batch]
    assert len(ids) == len(set(ids)) == 60


async def test_only_tasks_of_known_names_are_taken(store: TaskStore) -> None:
    async with store.database.transaction() as connection:
        await store.put(connection, OTHER, Empty())
        await connection.commit()
    assert await take(store) == []
    assert (await store.counts())["other"].waiting == 1


async def test_after_the_lease_another_process_takes_the_task(store: TaskStore) -> None:
    await put(store)
    (ours,) = await take(store, lease_seconds=0)
    (theirs,) = await take(store)
    assert (theirs.id, theirs.attempt) == (ours.id, 2)
    assert await store.renew([ours, theirs], 30) == {ours.id}, "one row, by the lease of the second"
    assert await store.renew([ours], 30) == set()
    for late in (finish(store, ours), store.retry(ours, 0, ""), store.give_up(ours, ""), store.put_back(ours)):
        with pytest.raises(LostLeaseError):
            await late
    await finish(store, theirs)


async def test_a_renewed_lease_keeps_the_task(store: TaskStore) -> None:
    await put(store)
    taken = await take(store, lease_seconds=0)
    assert await store.renew(taken, 60) == {taken[0].id}
    assert await take(store) == []


async def test_a_failed_attempt_is_tried_again_later_and_one_put_back_does_not_count(store: TaskStore) -> None:
    await put(store)
    (taken,) = await take(store)
    await store.put_back(taken)
    (taken,) = await take(store)
    assert taken.attempt == 1
    await store.retry(taken, 0, "not now")
    (taken,) = await take(store)
    assert taken.attempt == 2
    await store.retry(taken, 60, "not now")
    assert await take(store) == []


async def test_what_has_failed_for_good_is_kept_and_can_be_tried_again_or_dropped(store: TaskStore) -> None:
    for number in (1, 2):
        await put(store, number)
    for taken in await take(store):
        await store.give_up(taken, "x" * 5000)
    assert await take(store) == []
    counts = (await store.counts())["mark"]
    assert (counts.waiting, counts.failed, counts.oldest_seconds) == (0, 2, 0)
    first, second = await store.failed(10)
    assert (len(first.error or ""), first.attempts) == (1000, 1)
    assert await store.try_again([first.id]) == 1
    assert [(taken.id, taken.attempt) for taken in await take(store)] == [(first.id, 1)]
    assert await store.drop([first.id, second.id]) == 1, "the first one is running"
    assert await store.failed(10) == []


async def test_the_age_of_the_oldest_due_task_is_told(store: TaskStore) -> None:
    await put(store, delay_seconds=-90)
    await put(store, delay_seconds=90)
    counts = (await store.counts())["mark"]
    assert counts.waiting == 2
    assert 90 <= counts.oldest_seconds < 150
