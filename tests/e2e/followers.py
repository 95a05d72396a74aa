"""Clients that follow the clicks on a link, by server-sent events and by WebSockets, and come back when they are cut.

Bounded in count and time, and a process of its own: `python -m tests.e2e.followers --help`. Each keeps what it was
told, so that a test can say that none has heard of more, or of less, than has happened.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from k8s.load.open_loop import session

MAX_FOLLOWERS = 1000
MAX_SECONDS = 900.0
TOKEN = "FOLLOWERS_TOKEN"  # a variable: no token is to be seen in the list of processes
AT_ONCE = 50  # handshakes
AGAIN_SECONDS = (0.5, 2.0)  # pause after the end of a WebSocket, and after a try that has failed


@dataclass
class Follower:
    """What one was told."""

    clicks: int = 0
    last: str = ""
    """The id that it comes back with."""
    twice: int = 0
    missed: int = 0
    """How often it was told that something is not kept any more."""
    ends: list[str] = field(default_factory=list)
    """How its connections have ended."""
    refused: list[str] = field(default_factory=list)
    """Why it could not connect."""
    away: float = 0.0
    """The longest time between two connections, in seconds."""

    def hear(self, event: str | None, place: str, clicks: int) -> None:
        if event == "missed":
            self.missed += 1
        elif event == "clicks":
            self.twice += _position(place) <= _position(self.last)
            self.clicks += clicks
        self.last = place or self.last


def _position(place: str) -> tuple[int, ...]:
    return tuple(int(part) for part in place.split("-")) if place else ()


Connect = Callable[[aiohttp.ClientSession, Follower], Awaitable["Stream | WebSocket"]]


class Crowd:
    """All of them; every second one by a WebSocket."""

    def __init__(self, url: str, authority: Path | None, count: int, token: str) -> None:
        """`url` is that of the link's clicks in the API; without an authority it is of plain HTTP."""
        self.followers = [Follower() for _ in range(min(count, MAX_FOLLOWERS))]
        self.open = 0
        self._url = url
        self._trust = ssl.create_default_context(cafile=authority) if authority else None
        self._headers = {"Authorization": f"Bearer {token}"}
        self._handshakes = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Follow, until it is cancelled."""
        async with session(self._url, self._trust, fresh=True) as client, asyncio.TaskGroup() as tasks:
            for number, follower in enumerate(self.followers):
                tasks.create_task(self._follow(client, follower, self._talk if number % 2 else self._listen))

    async def _follow(self, client: aiohttp.ClientSession, follower: Follower, connect: Connect) -> None:
        since: float | None = None
        while True:
            pause = random.uniform(*AGAIN_SECONDS)  # noqa: S311
            try:
                async with self._handshakes:
                    connection = await connect(client, follower)
                if since is not None:
                    follower.away = max(follower.away, time.monotonic() - since)
            except (aiohttp.ClientError, OSError) as error:
                follower.refused.append(str(getattr(error, "status", type(error).__name__)))
            else:
                with self._opened():
                    pause = await connection.hear() or pause
                since = time.monotonic()
            await asyncio.sleep(pause)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1

    async def _listen(self, client: aiohttp.ClientSession, follower: Follower) -> "Stream":
        headers = self._headers | ({"Last-Event-ID": follower.last} if follower.last else {})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        answer = await client.get(f"{self._url}/events", headers=headers, timeout=timeout, raise_for_status=True)
        return Stream(answer, follower)

    async def _talk(self, client: aiohttp.ClientSession, follower: Follower) -> "WebSocket":
        after = {"after": follower.last} if follower.last else {}
        return WebSocket(await client.ws_connect(f"{self._url}/live", params=after, headers=self._headers), follower)


class Stream:
    """Server-sent events."""

    def __init__(self, answer: aiohttp.ClientResponse, follower: Follower) -> None:
        self._answer = answer
        self._follower = follower

    async def hear(self) -> float | None:
        """To the end. Returns the pause that the service asks for, in seconds."""
        retry, event = None, dict[str, str]()
        try:
            async with self._answer:
                async for line in self._answer.content:
                    name, _, value = line.decode().rstrip("\n").partition(": ")
                    if name:
                        event[name] = value
                        continue
                    retry = int(event["retry"]) / 1000 if "retry" in event else retry
                    clicks = json.loads(event.get("data") or "{}").get("clicks", 0)
                    self._follower.hear(event.get("event"), event.get("id", ""), clicks)
                    event = {}
            self._follower.ends.append("end")
        except (aiohttp.ClientError, OSError) as error:
            self._follower.ends.append(type(error).__name__)
        return retry


class WebSocket:
    """The same events, as messages."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, follower: Follower) -> None:
        self._websocket = websocket
        self._follower = follower

    async def hear(self) -> None:
        """To the end."""
        try:
            async for message in self._websocket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    told = json.loads(message.data)
                    clicks = (told["data"] or {}).get("clicks", 0)
                    self._follower.hear(told["event"], told["id"] or "", clicks)
            self._follower.ends.append(str(self._websocket.close_code))
        except (aiohttp.ClientError, OSError) as error:
            self._follower.ends.append(type(error).__name__)


@dataclass
class Told:
    """How it stands: of all followers."""

    open: int = 0
    least: int = 0
    """Clicks that each has heard of."""
    most: int = 0
    followers: list[Follower] = field(default_factory=list)
    """Once they have left."""


class Followers:
    """They are in a process of their own while the block runs: `with Followers(...) as followers:`."""

    def __init__(self, url: str, authority: Path | None, token: str, count: int = MAX_FOLLOWERS) -> None:
        self.told = Told()
        self._argv = [sys.executable, "-m", "tests.e2e.followers", url, "--count", str(count)]
        self._argv += ["--authority", str(authority)] if authority else []
        self._environment = os.environ | {TOKEN: token}

    def __enter__(self) -> "Followers":
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True, env=self._environment)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._reader.join()
        if error is not None:
            print(self.summary())  # noqa: T201  # pytest shows it

    def summary(self) -> dict[str, dict[Any, int]]:
        """How often each occurred, of all followers that have left."""
        found = self.told.followers
        return {
            "ends": dict(Counter(end for each in found for end in each.ends)),
            "refused": dict(Counter(reason for each in found for reason in each.refused)),
            "clicks": dict(Counter(each.clicks for each in found)),
            "missed": dict(Counter(each.missed for each in found)),
            "twice": dict(Counter(each.twice for each in found)),
            "away": dict(Counter(round(each.away) for each in found)),
        }

    def _read(self) -> None:
        """A line of JSON each time, and at the end the followers."""
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                said["followers"] = [Follower(**each) for each in said["followers"]]
                self.told = Told(**said)


async def _main(crowd: Crowd) -> None:
    running = asyncio.create_task(crowd.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, running.cancel)
    loop.call_later(MAX_SECONDS, running.cancel)

    def say(followers: list[Follower]) -> None:
        heard = [each.clicks for each in crowd.followers]
        print(json.dumps(asdict(Told(crowd.open, min(heard), max(heard), followers))), flush=True)  # noqa: T201

    while not running.done():
        say([])
        await asyncio.wait([running], timeout=0.2)
    say(crowd.followers)
    if not running.cancelled():
        running.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.followers", description="Follow the clicks on a link of a service at 127.0.0.1."
    )
    parser.add_argument("url", help="of the link's clicks: https://.../api/v1/links/<slug>/clicks")
    parser.add_argument("--authority", type=Path, help="certificate of the authority to trust, unless it is plain HTTP")
    parser.add_argument("--count", type=int, default=MAX_FOLLOWERS, help=f"at most {MAX_FOLLOWERS}")
    args = parser.parse_args()
    asyncio.run(_main(Crowd(args.url, args.authority, args.count, os.environ[TOKEN])))
