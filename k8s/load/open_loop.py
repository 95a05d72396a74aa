"""Requests that leave on a fixed schedule whatever becomes of those before, as users' do: to this machine alone.

A closed loop would wait for slow answers and so send least when things are worst ("coordinated omission").
"""

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

LOOPBACK = "127.0.0.1"
TIMEOUT = 10.0  # seconds; a request that takes longer has failed


class OpenLoop:
    """Begins `rate` requests a second until it is told to stop, or `seconds` are over; then waits for the last ones."""

    def __init__(self, rate: float, seconds: float) -> None:
        self.rate = rate
        self.limit = seconds
        self.sent = 0
        self.seconds = 0.0
        """How long requests were begun, once there is an end."""
        self.begin = time.monotonic()
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True

    async def run(self, send: Callable[[int], Coroutine[Any, Any, None]]) -> None:
        """`send` is given how many requests were begun before its own."""
        async with asyncio.TaskGroup() as tasks:
            self.begin = time.monotonic()
            while not self.stopped and time.monotonic() - self.begin < self.limit:
                tasks.create_task(send(self.sent))
                self.sent += 1
                pause = self.begin + self.sent / self.rate - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)
            self.seconds = time.monotonic() - self.begin


class Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        entry = {
            "hostname": host,
            "host": LOOPBACK,
            "port": port,
            "family": family or socket.AF_INET,
            "proto": 0,
            "flags": 0,
        }
        return [entry]  # type: ignore[list-item]

    async def close(self) -> None:
        pass


def session(url: str, trust: ssl.SSLContext | None, *, fresh: bool) -> aiohttp.ClientSession:
    """Connects to 127.0.0.1 whatever name `url` has, anew for each request or again on kept connections.

    Raises:
        ValueError: `url` has an address for a name, and not that one.
    """
    require_loopback(url)
    ssl_context: ssl.SSLContext | bool = trust or True
    # Only one of them may be given.
    keeping: dict[str, Any] = {"force_close": True} if fresh else {"keepalive_timeout": 60}
    connector = aiohttp.TCPConnector(resolver=Loopback(), ssl=ssl_context, limit=0, **keeping)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT))


def require_loopback(url: str) -> None:
    """No resolver is asked for an address: it must be the right one."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return
    if str(address) != LOOPBACK:
        raise ValueError(f"{url} is not on this machine: requests are sent to {LOOPBACK} alone")
