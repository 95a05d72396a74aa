"""The command: checks what it is given, prepares tokens and what the load needs, sends, tells how it goes, sums up."""

import asyncio
import math
import shlex
import signal
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from k8s import dashboards, facts
from k8s.load.open_loop import LOOPBACK, TIMEOUT, OpenLoop, session
from k8s.load.tally import CLASSES, Tally, rows, total
from k8s.load.traffic import RefusedError, Traffic
from keel.load import LoadError, Mix
from toolkit.process import Failure, output
from toolkit.progress import spell

TELL_EVERY = 5.0  # seconds
FRESH = 10  # every tenth request comes on a connection of its own
TOKEN_PER_SECOND = 8  # requests to a token, of ten that the service allows by default
TOKEN_SECONDS = 7200  # longer than the longest load


def command(file: Path, rate: float, seconds: float) -> int:
    """Returns the exit status: 0 whatever was answered, 130 after Ctrl-C.

    Raises:
        Failure: no cluster is up, or it is not on this machine, or does not answer.
    """
    from app.main import SERVICE  # noqa: PLC0415  # half a second that other commands need not wait

    known = facts.load(file)
    url, trust = _address(known)
    try:
        needed = math.ceil(rate * Mix.of(SERVICE, []).with_token / TOKEN_PER_SECOND)
        traffic = Traffic(Mix.of(SERVICE, _tokens(known, needed)))
    except LoadError as error:
        raise Failure(str(error)) from error
    print(f"{rate:g} requests a second to {url} for {spell(seconds)}; Ctrl-C ends it sooner.", flush=True)
    try:
        status, loop = asyncio.run(_run(traffic, url, trust, OpenLoop(rate, seconds)))
    except RefusedError as error:
        raise Failure(f"The load cannot begin: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Failure(f"{url} cannot be reached ({error}): is the cluster up? `make up` brings it up.") from error
    print(summary(traffic, loop))
    print(f"\nWhere to look:\n{dashboards.listing(dashboards.places(known))}", flush=True)
    return status


async def _run(traffic: Traffic, url: str, trust: ssl.SSLContext | None, loop: OpenLoop) -> tuple[int, OpenLoop]:
    status = 0

    def stop(number: int) -> None:
        nonlocal status
        status = 128 + number
        loop.stop()
        print(f"\nStopping: the last answers may take {TIMEOUT:g} s. Ctrl-C again does not wait.", flush=True)
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)

    async with session(url, trust, fresh=True) as fresh, session(url, trust, fresh=False) as kept:
        await traffic.prepare(kept, url)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        running = asyncio.create_task(loop.run(lambda number: traffic.send(kept if number % FRESH else fresh, url)))
        while not running.done():
            _, waiting = await asyncio.wait([running], timeout=TELL_EVERY)
            if waiting:
                print(_line(loop, traffic.take_interval()), flush=True)
        running.result()
    return status, loop


def _line(loop: OpenLoop, interval: Tally) -> str:
    elapsed = time.monotonic() - loop.begin
    bad = f"{interval.classes[5]} x 5xx, {interval.classes[0]} without an answer"
    times = f"p50 {interval.quantile(0.5) * 1000:.1f} ms, p99 {interval.quantile(0.99) * 1000:.1f} ms"
    return f"{elapsed:6.0f} s  {loop.sent} sent; since the line before: {interval.sent} done, {bad}, {times}"


def summary(traffic: Traffic, loop: OpenLoop) -> str:
    """A table of what was sent and answered, and what came that should not have."""
    head = ["", "sent", *CLASSES.values(), "p50 ms", "p99 ms"]
    lines = [f"{name:<14}" + "".join(f"{cell:>9}" for cell in cells) for name, *cells in [head, *rows(traffic.tallies)]]
    lines = [line.rstrip() for line in lines]
    unexpected = total(traffic.tallies.values()).unexpected
    told = ", ".join(f"{count} x {reason}" for reason, count in unexpected.most_common())
    rate = loop.sent / loop.seconds if loop.seconds else 0.0
    lines.append(f"\n{loop.sent} requests in {spell(loop.seconds)}, {rate:.1f} a second.")
    lines.append(f"Not as they should be: {told}." if told else "Every answer was as it should be.")
    return "\n" + "\n".join(lines)


def _address(known: dict[str, str]) -> tuple[str, ssl.SSLContext | None]:
    """The service's, and whom to trust there."""
    url = known["url"].rstrip("/")
    try:
        parts = urlsplit(url)
        host, is_valid = parts.hostname or "", parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        host, is_valid = "", False
    # Names below .localhost are this machine's (RFC 6761), and no resolver is asked for them either.
    if not is_valid or (host not in {LOOPBACK, "localhost"} and not host.endswith(".localhost")):
        raise Failure(f"{url} is not this machine: the load is for the local cluster alone, at {LOOPBACK}.")
    if parts.scheme == "http":
        return url, None
    try:
        return url, ssl.create_default_context(cafile=known["ca"])
    except OSError as error:
        raise Failure(f"The authority's certificate cannot be read ({error}): run `make up` again.") from error


def _tokens(known: dict[str, str], count: int) -> list[str]:
    """Of as many owners, by the command that the facts name."""

    def mint(number: int) -> str:
        more = shlex.join(["--subject", f"load-{number}", "--expires-in", str(TOKEN_SECONDS)])
        return output(["sh", "-c", f"{known['token']} {more}"]).strip()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(mint, range(1, count + 1)))
