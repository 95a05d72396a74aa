"""A TCP proxy between the application and a server, for what the wire does to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Proxy:
    """Passes bytes on until it stalls; then it takes connections and bytes as before and passes on nothing."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self.connections = 0
        self.round_trips = 0
        self._passing = asyncio.Event()
        self._passing.set()

    @property
    def stalled(self) -> bool:
        return not self._passing.is_set()

    def stall(self) -> None:
        self._passing.clear()

    def resume(self) -> None:
        """Pass on, also what has come meanwhile."""
        self._passing.set()

    def serve_new_ones(self) -> None:
        """Pass on what new connections bring; those of before stay silent for ever."""
        self._passing = asyncio.Event()
        self._passing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        passing = self._passing

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asking: bool) -> None:
            """Until the end of either side. Who waits for each answer sends one piece for each round trip."""
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    self.round_trips += asking
                    await passing.wait()
                    writer.write(data)
                    await writer.drain()
            writer.transport.abort()

        try:
            await passing.wait()
            answers, questions = await asyncio.open_connection("127.0.0.1", self.target)
            try:
                await asyncio.gather(pump(reader, questions, True), pump(answers, writer, False))
            finally:
                questions.transport.abort()
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port of 127.0.0.1 in front of `port`."""
    between = Proxy(port)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await between.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
