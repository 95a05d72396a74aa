"""Takes all connections that a database has, also from those who have them; listens on port 8080 when it has them."""

import asyncio
import os
from typing import Any

import asyncpg  # type: ignore[import-untyped]

URL, MOST, END_OTHERS = os.environ["URL"], int(os.environ["MOST"]), os.environ["END_OTHERS"]


async def connect() -> Any:
    while True:
        try:
            return await asyncpg.connect(URL, timeout=5)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)


async def main() -> None:
    first = await connect()
    others = asyncio.gather(*(connect() for _ in range(MOST - 1)))
    while not others.done():
        await first.execute(END_OTHERS)
        await asyncio.sleep(0.1)
    async with await asyncio.start_server(lambda *_: None, "0.0.0.0", 8080) as server:  # noqa: S104 - a pod's
        await server.serve_forever()


asyncio.run(main())
