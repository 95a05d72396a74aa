import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import uvloop

from keel.http.acceptor import Acceptor

Logs = Callable[[], list[dict[str, Any]]]
WAITING = 100


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=2 * WAITING) as made:
        yield made


@contextlib.contextmanager
def clients(listener: socket.socket, number: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as cleanup:
        yield [cleanup.enter_context(socket.create_connection(listener.getsockname(), 5)) for _ in range(number)]


@contextlib.asynccontextmanager
async def accepting(listener: socket.socket) -> AsyncIterator[Acceptor]:
    acceptor = Acceptor(listener, Greeting)
    try:
        yield acceptor
    finally:
        acceptor.close()


def test_all_connections_that_wait_are_taken_at_once(listener: socket.socket) -> None:
    """uvloop 0.23.0's own server takes one in each round of the event loop: 100 rounds and more here."""
    made = lost = 0

    class Counting(Greeting):
        def connection_made(self, transport: Any) -> None:
            nonlocal made
            made += 1
            super().connection_made(transport)

        def connection_lost(self, _exc: Exception | None) -> None:
            nonlocal lost
            lost += 1

    async def rounds() -> int:
        acceptor = Acceptor(listener, Counting)
        passed = 0
        async with asyncio.timeout(10):
            while lost < WAITING:
                await asyncio.sleep(0)
                passed += made < WAITING
        acceptor.close()
        return passed

    with clients(listener, WAITING):
        assert uvloop.run(rounds()) < WAITING / 2


@contextlib.contextmanager
def no_more_files() -> Iterator[Callable[[], None]]:
    """No file can be opened, until the block ends or what it gets is called."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []

    def release() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        while taken:
            os.close(taken.pop())

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield release
    finally:
        release()


def test_it_goes_on_when_there_are_files_to_be_had_again(listener: socket.socket, log_lines: Logs) -> None:
    async def served(client: socket.socket) -> bytes:
        client.setblocking(False)
        with no_more_files() as release:
            async with accepting(listener), asyncio.timeout(10):
                while not log_lines():  # noqa: ASYNC110 - a line in a log is no event
                    await asyncio.sleep(0)
                release()
                return await asyncio.get_running_loop().sock_recv(client, 5)

    with clients(listener, 1) as (client,):
        assert uvloop.run(served(client)) == b"hello"
    assert [line["message"] for line in log_lines()] == ["cannot accept connections"]


def test_what_is_too_many_waits_until_there_is_room(listener: socket.socket, log_lines: Logs) -> None:
    opened = set[asyncio.Protocol]()

    class Kept(Greeting):
        def connection_made(self, transport: Any) -> None:
            opened.add(self)
            self.transport = transport
            transport.write(b"hello")

        def connection_lost(self, _exc: Exception | None) -> None:
            opened.discard(self)

    async def most(waiting: list[socket.socket]) -> int:
        loop, found = asyncio.get_running_loop(), 0
        acceptor = Acceptor(listener, Kept, lambda: 3 - len(opened))
        async with asyncio.timeout(10):
            for client in waiting:
                client.setblocking(False)
                assert await loop.sock_recv(client, 5) == b"hello"
                found = max(found, len(opened))
                client.close()
        acceptor.close()
        return found

    with clients(listener, 12) as waiting:
        assert uvloop.run(most(waiting)) == 3
    assert [line["message"] for line in log_lines()] == [
        "the limit of connections is reached: more wait to be accepted"
    ]


def test_a_closed_one_takes_nobody(listener: socket.socket) -> None:
    async def closed(client: socket.socket) -> None:
        async with accepting(listener):
            pass
        for _ in range(10):
            await asyncio.sleep(0)
        client.setblocking(False)
        client.recv(5)

    with clients(listener, 1) as (client,), pytest.raises(BlockingIOError):
        uvloop.run(closed(client))
