import asyncio
import socket
import time

import pytest

from keel.patience import LATE_STEPS, STEPS, Patience

pytestmark = pytest.mark.anyio
BLOCKED_SECONDS = 0.5
SECONDS = 0.25


async def test_an_answer_that_lies_there_is_read_first() -> None:
    """asyncio.timeout gives up on it: the loop was busy for longer than the answer may take."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    with far:
        async with Patience(SECONDS):
            line = asyncio.create_task(reader.readline())
            await asyncio.sleep(0)  # it waits
            far.sendall(b"answer\n")
            time.sleep(BLOCKED_SECONDS)  # noqa: ASYNC251
            assert await line == b"answer\n"
    writer.close()
    await writer.wait_closed()


async def test_who_does_not_answer_is_given_up() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(SECONDS):
            await asyncio.Event().wait()
    assert SECONDS <= time.monotonic() - began < 2 * SECONDS


async def test_who_is_busy_for_ever_gives_up_as_well() -> None:
    seconds, rounds = 0.05, 0

    async def busy() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            time.sleep(seconds)  # noqa: ASYNC251
            await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        async with Patience(seconds):
            await busy()
    assert LATE_STEPS < rounds <= 3 * (STEPS + LATE_STEPS)


async def test_an_answer_in_many_parts_is_waited_for() -> None:
    """Each part needs a round of the loop, and each round is longer than a step."""
    async with Patience(SECONDS):
        for _ in range(2 * STEPS):
            time.sleep(SECONDS / 2)  # noqa: ASYNC251
            await asyncio.sleep(0)


async def test_what_ends_in_time_leaves_nothing() -> None:
    async with Patience(0.01):
        pass
    await asyncio.sleep(0.05)  # nobody is cancelled afterwards


async def test_another_s_cancellation_is_none_of_it() -> None:
    async def wait() -> None:
        async with Patience(SECONDS):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
