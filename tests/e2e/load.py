"""An open-loop load: requests leave on a fixed schedule whatever becomes of those before, as users' do.

A closed loop would wait for slow answers and so send least when things are worst ("coordinated omission"). Half of the
requests come on fresh connections, half on kept-alive ones. It sends to 127.0.0.1 alone, bounded in count and time, and
from a process of its own, so that nothing the tests do delays it: `python -m tests.e2e.load --help`.
"""

import argparse
import asyncio
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

LOOPBACK = "127.0.0.1"
TIMEOUT = 10.0  # seconds; a request that takes longer has failed
MAX_SECONDS = 300.0
MAX_RATE = 1000.0


@dataclass
class Result:
    """What became of the requests. `failures` are (seconds since the start, reason), `latencies` in seconds."""

    sent: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def rate(self) -> float:
        """Requests a second that were really sent."""
        return self.sent / self.seconds if self.seconds else 0.0

    def quantile(self, q: float) -> float:
        """A latency in seconds; 0 if nothing was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    def reasons(self) -> str:
        """The failures by reason, and when the first and the last were."""
        if not self.failures:
            return "none failed"
        counted = ", ".join(f"{n} x {reason}" for reason, n in Counter(r for _, r in self.failures).most_common(6))
        times = [t for t, _ in self.failures]
        return f"{self.failed} of {self.sent} failed between {min(times):.1f} s and {max(times):.1f} s: {counted}"


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


class Sender:
    """GETs a URL at a fixed rate until it is told to stop, or MAX_SECONDS are over."""

    def __init__(self, url: str, authority: Path, rate: float, expected: int) -> None:
        self.url = url
        self.rate = rate
        self.expected = expected
        self.result = Result()
        self.stop = False
        self._trust = ssl.create_default_context(cafile=authority)
        self._begin = time.monotonic()

    async def run(self) -> None:
        fresh = aiohttp.TCPConnector(resolver=Loopback(), ssl=self._trust, force_close=True, limit=0)
        kept = aiohttp.TCPConnector(resolver=Loopback(), ssl=self._trust, limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(connector=fresh, timeout=timeout) as first,
            aiohttp.ClientSession(connector=kept, timeout=timeout) as second,
            asyncio.TaskGroup() as tasks,
        ):
            self._begin = time.monotonic()
            while not self.stop and time.monotonic() - self._begin < MAX_SECONDS:
                tasks.create_task(self._get(first if self.result.sent % 2 else second))
                self.result.sent += 1
                pause = self._begin + self.result.sent / self.rate - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)
            self.result.seconds = time.monotonic() - self._begin

    async def _get(self, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        try:
            async with session.get(self.url, allow_redirects=False) as answer:
                await answer.read()
                if answer.status != self.expected:
                    # The service gives every answer an id; what comes without was made up on the way.
                    who = "the service" if "X-Request-ID" in answer.headers else "the ingress"
                    self._failed(began, f"status {answer.status} of {who}")
                else:
                    self.result.latencies.append(round(time.monotonic() - began, 4))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._failed(began, type(error).__name__)

    def _failed(self, began: float, reason: str) -> None:
        self.result.failures.append((round(began - self._begin, 2), reason))


class Load:
    """A sender in a process of its own while the block runs: `with Load(...) as load: ...`, then `load.result`.

    `rate` is in requests a second; an answer with another status than `expected` has failed.
    """

    def __init__(self, url: str, authority: Path, *, rate: float = 100.0, expected: int = 307) -> None:
        if rate > MAX_RATE:
            raise ValueError(f"{rate} requests a second are more than {MAX_RATE}")
        self.rate = rate
        self.sent = 0
        self.result = Result()
        options = ["--authority", str(authority), "--rate", str(rate), "--expected", str(expected)]
        self._argv = [sys.executable, "-m", "tests.e2e.load", url, *options]

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(TIMEOUT + 10)
        self._reader.join()

    def sent_at_least(self, count: int, seconds: float = 60.0) -> None:
        """Wait until so many requests were sent, so that the load is under way before something happens to it."""
        deadline = time.monotonic() + seconds
        while self.sent < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"only {self.sent} of {count} requests were sent within {seconds} s")
            time.sleep(0.02)

    def _read(self) -> None:
        """A line of JSON each time: how many were sent so far, and at the end the whole result."""
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                self.sent = said["sent"]
                if "failures" in said:
                    said["failures"] = [(t, reason) for t, reason in said["failures"]]
                    self.result = Result(**said)


async def _main(sender: Sender) -> None:
    def stop() -> None:
        sender.stop = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    running = asyncio.create_task(sender.run())
    while not running.done():
        print(json.dumps({"sent": sender.result.sent}), flush=True)  # noqa: T201
        await asyncio.wait([running], timeout=0.2)
    running.result()
    print(json.dumps(asdict(sender.result)), flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.load", description="GET a URL of 127.0.0.1 at a fixed rate."
    )
    parser.add_argument("url")
    parser.add_argument("--authority", type=Path, required=True, help="certificate of the authority to trust")
    parser.add_argument("--rate", type=float, default=100.0, help=f"requests a second, at most {MAX_RATE:.0f}")
    parser.add_argument("--expected", type=int, default=307, help="the status of a good answer")
    args = parser.parse_args()
    asyncio.run(_main(Sender(args.url, args.authority, min(args.rate, MAX_RATE), args.expected)))
