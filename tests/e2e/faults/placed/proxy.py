"""Sends on what comes, after a while, both ways. One connection of a client is one to the server."""

import asyncio
import os

HOST, PORT, DELAY = os.environ["TO"], int(os.environ["PORT"]), float(os.environ["DELAY"])


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(DELAY)
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        far_reader, far_writer = await asyncio.open_connection(HOST, PORT)
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))


async def main() -> None:
    async with await asyncio.start_server(serve, "0.0.0.0", PORT) as server:  # noqa: S104 - a pod's
        await server.serve_forever()


asyncio.run(main())
