"""Taking connections from a listening socket: all that wait, and not one at a time.

uvloop (libuv since 1.45, https://github.com/libuv/libuv/pull/3696) accepts one connection each time the event loop
comes round. Under a full load one round answers a request of every connection that is open, so connections that wait
to be accepted starve: requests on them ran into their time-outs while those on older connections were answered.
"""

import asyncio
import socket
import sys
from collections.abc import Callable

import structlog

MAX_PER_ROUND = 256  # connections in one round
PAUSE_SECONDS = 1.0  # after an error that another try at once would meet again, such as too many open files
FULL_PAUSE_SECONDS = 0.05  # while there is no room for another connection
SAY_EVERY_SECONDS = 60.0  # that there is none

log = structlog.get_logger("keel.http.acceptor")


class Acceptor:
    """Makes a connection of each that comes to `listener`, until it is closed; the listener stays its owner's.

    `room` says how many connections more there may be. Those that are too many wait in the listener's backlog: open
    files are left for the probes, and for the connections to what the service needs.
    """

    def __init__(
        self,
        listener: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        room: Callable[[], int] = lambda: sys.maxsize,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self.sockets = [listener]  # as those of asyncio.Server
        self._protocol = protocol
        self._room = room
        self._said = float("-inf")
        self._opening = set[asyncio.Task[object]]()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
        self._resume()

    def close(self) -> None:
        """Accept no more. Connections that were accepted go on."""
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Return at once, as nothing is left to do; uvicorn waits for the connections by itself."""

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(MAX_PER_ROUND):
            if self._room() <= len(self._opening):
                self._say_full()
                self._wait(FULL_PAUSE_SECONDS)
                return
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return  # no more; or its client has left, and the next round goes on
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
            log.warning("no room for more connections: they wait to be accepted")

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # its client has left again
            log.debug("connection lost", cause=str(error))
            connection.close()
