"""Accepts connections from a listening socket: all that wait, instead of one in each round of the event loop.

uvloop (libuv since 1.45, https://github.com/libuv/libuv/pull/3696) accepts one connection in each round. Under full
load one round answers a request on every open connection, so connections that wait to be accepted starve: their
requests ran into time-outs while those on older connections were answered.
"""

import asyncio
import socket
import sys
from collections.abc import Callable

import structlog

MAX_PER_ROUND = 256  # connections in one round
PAUSE_SECONDS = 1.0  # after an error that would happen again at once, such as too many open files
FULL_PAUSE_SECONDS = 0.05  # while the limit of connections is reached
SAY_EVERY_SECONDS = 60.0  # how often that is logged

log = structlog.get_logger("keel.http.acceptor")


class Acceptor:
    """Accepts connections from `listener` until it is closed. The caller closes the listener.

    `room` returns how many more connections there may be. Connections beyond that wait in the listener's backlog, so
    that open files remain for the probes, the database and Valkey.

    `at_once` is how many it accepts in one round: one, where other processes accept from the same socket, so that each
    gets its share.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        room: Callable[[], int] = lambda: sys.maxsize,
        at_once: int = MAX_PER_ROUND,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self.sockets = [listener]  # as asyncio.Server has
        self._protocol = protocol
        self._room = room
        self._at_once = at_once
        self._said = float("-inf")
        self._opening = set[asyncio.Task[object]]()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted connections inherit it
        self._resume()

    def close(self) -> None:
        """Stop accepting. Open connections stay open."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Return at once: uvicorn itself waits for the open connections."""

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            if self._room() <= len(self._opening):
                self._say_full()
                self._wait(FULL_PAUSE_SECONDS)
                return
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # none waits; or its client has gone, and the next round continues
            except OSError as error:
                log.warning("cannot accept connections", cause=str(error), again_in_seconds=PAUSE_SECONDS)
                self._wait(PAUSE_SECONDS)
                return
            connection.setblocking(False)
            opening = self._loop.create_task(self._open(connection))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, self._resume)

    def _say_full(self) -> None:
        now = self._loop.time()
        if now - self._said >= SAY_EVERY_SECONDS:
            self._said = now
            log.warning("the limit of connections is reached: more wait to be accepted")

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # its client has gone already
            log.debug("connection lost", cause=str(error))
            connection.close()
