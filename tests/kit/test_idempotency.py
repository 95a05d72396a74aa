import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from keel.data import purge
from keel.data.database import Database
from keel.data.upsert import insert
from keel.idempotency import KEYS, AlreadyAnsweredError, IdempotencyKeys, KeyedRequest, KeyReusedError
from tests.probe.domain import TABLE

pytestmark = pytest.mark.anyio

REQUEST = KeyedRequest("alice", "key", "a" * 64)


@pytest.fixture
def keys(database: Database) -> IdempotencyKeys:
    return IdempotencyKeys(database, hours=24)


async def keep(keys: IdempotencyKeys, request: KeyedRequest, response: str, database: Database) -> None:
    async with database.transaction() as connection:
        await keys.keep(connection, request, response)
        await connection.commit()


async def test_an_answer_is_kept_for_the_same_request(keys: IdempotencyKeys, database: Database) -> None:
    assert await keys.answer(REQUEST) is None
    await keep(keys, REQUEST, '{"a": "ä"}', database)
    assert await keys.answer(REQUEST) == '{"a": "ä"}'


async def test_another_request_cannot_have_the_key(keys: IdempotencyKeys, database: Database) -> None:
    await keep(keys, REQUEST, "answer", database)
    with pytest.raises(KeyReusedError):
        await keys.answer(KeyedRequest("alice", "key", "b" * 64))


async def test_keys_are_each_owners_own(keys: IdempotencyKeys, database: Database) -> None:
    await keep(keys, REQUEST, "alice's", database)
    bobs = KeyedRequest("bob", "key", "b" * 64)
    assert await keys.answer(bobs) is None
    await keep(keys, bobs, "bob's", database)
    assert await keys.answer(REQUEST) == "alice's"


async def test_the_first_answer_stays(keys: IdempotencyKeys, database: Database) -> None:
    await keep(keys, REQUEST, "first", database)
    with pytest.raises(AlreadyAnsweredError):
        await keep(keys, REQUEST, "second", database)
    assert await keys.answer(REQUEST) == "first"


async def make(keys: IdempotencyKeys, database: Database, request: KeyedRequest, name: str) -> str | None:
    """Make a thing and keep the answer with it, unless there is one of that name."""
    row = {"name": name, "owner": request.owner, "made_at": datetime.now(UTC)}
    add = insert(database.dialect, TABLE).values(row).on_conflict_do_nothing().returning(TABLE.c.name)
    async with database.transaction() as connection:
        await keys.keep(connection, request, name)
        made: str | None = await connection.scalar(add)
        if made:
            await connection.commit()
    return made


async def test_of_many_at_once_one_makes_a_thing(keys: IdempotencyKeys, database: Database) -> None:
    attempts = (make(keys, database, REQUEST, f"thing-{n}") for n in range(10))
    results = await asyncio.gather(*attempts, return_exceptions=True)
    (made,) = [result for result in results if isinstance(result, str)]
    assert sum(isinstance(result, AlreadyAnsweredError) for result in results) == 9
    assert await keys.answer(REQUEST) == made
    async with database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(TABLE)) == 1


async def test_a_key_is_free_again_when_nothing_was_made(keys: IdempotencyKeys, database: Database) -> None:
    assert await make(keys, database, KeyedRequest("bob", "key", "b" * 64), "taken") == "taken"
    assert await make(keys, database, REQUEST, "taken") is None
    assert await keys.answer(REQUEST) is None


async def test_answers_past_their_time_are_purged(
    keys: IdempotencyKeys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "BATCH", 3)
    requests = [KeyedRequest("alice", f"key-{n}", "a" * 64) for n in range(10)]
    for request in requests:
        await keep(keys, request, request.key, database)
    assert await keys.purge() == 0
    for n, request in enumerate(requests):
        age = timedelta(hours=24, seconds=60 if n < 7 else -60)
        async with database.transaction() as connection:
            await connection.execute(
                update(KEYS).where(KEYS.c.key == request.key).values(created_at=datetime.now(UTC) - age)
            )
            await connection.commit()
    assert await keys.purge() == 7
    assert [await keys.answer(request) for request in requests] == [None] * 7 + ["key-7", "key-8", "key-9"]


async def test_what_another_process_is_purging_is_left_to_it(keys: IdempotencyKeys, database: Database) -> None:
    for n in range(5):
        await keep(keys, KeyedRequest("alice", f"key-{n}", "a" * 64), "", database)
    hasty = IdempotencyKeys(database, hours=0)
    locked = select(KEYS.c.key).where(KEYS.c.key.in_(["key-1", "key-3"])).with_for_update()
    async with database.transaction() as connection:
        await connection.execute(locked)  # SQLite has no such locks
        assert await hasty.purge() == (3 if database.engine.dialect.name == "postgresql" else 5)


async def test_purges_in_the_background(
    keys: IdempotencyKeys, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "EVERY_SECONDS", 0.01)
    await keep(keys, REQUEST, "answer", database)
    hasty = IdempotencyKeys(database, hours=0)
    async with asyncio.timeout(30), hasty.purging():
        while await keys.answer(REQUEST):  # noqa: ASYNC110 - the database sets no event
            await asyncio.sleep(0.01)
