"""Connects to a name with several addresses (RFC 8305, "Happy Eyeballs"), so that a dead address costs only a moment.

An address may not answer, for example an IPv6 one whose packets are dropped. A client that tries the addresses in turn
waits for it until the time-out. Here each address has a short head start on the next, and the first that answers is
used. The event loop of the process connects this way, and so do the drivers of the database and of Valkey. A thread
without an event loop calls `connect_blocking`.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

HEAD_START_SECONDS = 0.05  # of 0.01 to 2 (RFC 8305, 8), so that three addresses fit in APP_VALKEY_TIMEOUT_SECONDS
# With these options, the caller has already chosen a socket or a kind of address.
CHOICES = ("sock", "local_addr", "family")


class EventLoop(uvloop.Loop):
    """uvloop's event loop, which by itself tries one address after the other."""

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host and not any(options.get(name) for name in CHOICES):
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host  # the certificate is for the name, not for the address
            options["sock"] = await connect(host, port)
            host = port = None
        return await super().create_connection(protocol_factory, host, port, **options)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run, but on this event loop."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(main)


class ForbiddenAddressError(OSError):
    """The name has addresses, and `allowed` refuses all of them."""


async def connect(host: str, port: int | None, allowed: Callable[[str], bool] | None = None) -> socket.socket:
    """A non-blocking socket, connected to the first of the host's addresses that answers.

    Only addresses that are `allowed` are tried. Ask here, not before: a name may get other addresses.

    Raises:
        ForbiddenAddressError: no address is allowed.
        OSError: the name has no address, or every address has refused.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    waiting = _alternating([each for each in found if allowed is None or allowed(str(each[4][0]))])
    if not waiting:
        raise ForbiddenAddressError(f"none of the addresses of {host} is allowed")
    attempts: set[asyncio.Task[socket.socket]] = set()
    refusals: list[BaseException] = []
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_attempt(*waiting.pop(0))))
            head_start = HEAD_START_SECONDS if waiting else None
            done, _ = await asyncio.wait(attempts, timeout=head_start, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.remove(attempt)
                if refusal := attempt.exception():
                    refusals.append(refusal)
                else:
                    return attempt.result()
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close)
    if len(refusals) == 1:
        raise refusals[0]
    raise OSError("; ".join(map(str, refusals)))


def connect_blocking(host: str, port: int | None, seconds: float | None) -> socket.socket:
    """The same for a thread without an event loop: a blocking socket.

    Raises:
        TimeoutError: after `seconds`, which is also the time-out of the socket.
        OSError: as `connect`.
    """

    async def within() -> socket.socket:
        async with asyncio.timeout(seconds):
            return await connect(host, port)

    connected = asyncio.run(within())
    connected.settimeout(seconds)
    return connected


async def _attempt(family: int, address: Any) -> socket.socket:
    trying = socket.socket(family, socket.SOCK_STREAM)
    try:
        trying.setblocking(False)
        await asyncio.get_running_loop().sock_connect(trying, address)
    except BaseException as error:
        trying.close()
        if isinstance(error, OSError) and error.errno:  # the event loop gives only the number
            raise OSError(error.errno, f"{os.strerror(error.errno)}: {address[0]} port {address[1]}") from error
        raise
    return trying


def _close(late: asyncio.Task[socket.socket]) -> None:
    """Close a connection that succeeded after another one was taken."""
    if not late.cancelled() and not late.exception():
        late.result().close()


def _alternating(found: Sequence[tuple[Any, ...]]) -> list[tuple[int, Any]]:
    """The families and addresses that getaddrinfo has found, in its order, but alternating between the families."""
    families: dict[int, list[tuple[int, Any]]] = {}
    for family, *_, address in found:
        families.setdefault(family, []).append((family, address))
    return [each for turn in zip_longest(*families.values()) for each in turn if each]
