"""An open-loop load on one URL (k8s/load/open_loop.py): a third of it on fresh connections, the rest on kept ones.

Reads, or reads and writes; the service has to have every write that it has acknowledged.

Bounded in count and time, and from a process of its own, so that nothing the tests do delays it:
`python -m tests.e2e.load --help`.
"""

import argparse
import asyncio
import json
import math
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from k8s.load import MAX_RATE
from k8s.load.open_loop import TIMEOUT, OpenLoop, session
from tests.e2e.machine import slowness
from tests.e2e.subject import SUBJECT

MAX_SECONDS = 900.0
FRESH_EVERY = 3  # requests one is sent on a connection of its own
WRITE = "LOAD_WRITE"  # variable: a Write as JSON
WRITE_FAILED = "write: "  # begins the reason of one
CREATED = 201
Asking = AbstractAsyncContextManager[aiohttp.ClientResponse]
SETTLE_SECONDS = 3  # of the load, before and after


@dataclass
class Result:
    """What became of the requests, each with the seconds from the start of the load to its own."""

    sent: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    """When, and the reason."""
    answers: list[tuple[float, float]] = field(default_factory=list)
    """When, and the seconds that the right answer took."""
    begin: float = 0.0
    """Of the load, on the clock that all processes have (time.monotonic)."""
    seconds: float = 0.0
    made: list[str] = field(default_factory=list)
    """The Location of each write that was acknowledged."""

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def rate(self) -> float:
        """Requests a second that were really sent."""
        return self.sent / self.seconds if self.seconds else 0.0

    def quantile(self, q: float, since: float = 0.0, until: float = math.inf) -> float:
        """A latency in seconds, of the requests sent in that time of the load; 0 if nothing was answered."""
        ordered = sorted(took for at, took in self.answers if since <= at < until)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

    def reasons(self) -> str:
        """The failures by reason, and when the first and the last were."""
        if not self.failures:
            return "none failed"
        counted = ", ".join(f"{n} x {reason}" for reason, n in Counter(r for _, r in self.failures).most_common(6))
        times = [t for t, _ in self.failures]
        return f"{self.failed} of {self.sent} failed between {min(times):.1f} s and {max(times):.1f} s: {counted}"


@dataclass(frozen=True)
class Write:
    """What is sent by POST in place of GET, as every `every`th request."""

    url: str
    token: str
    body: dict[str, Any] | None = None
    """The same each time; what the subject writes when None."""
    every: int = 1
    """No multiple of FRESH_EVERY, so that fresh connections and kept ones get writes."""


class Sender:
    """Asks for a URL at a fixed rate until it is told to stop, or MAX_SECONDS are over."""

    def __init__(self, url: str, authority: Path, rate: float, expected: int, write: Write | None = None) -> None:
        self.url = url
        self.expected = expected
        self.write = write
        self.result = Result()
        self.loop = OpenLoop(rate, MAX_SECONDS)
        self._trust = ssl.create_default_context(cafile=authority)

    async def run(self) -> None:
        async with (
            session(self.url, self._trust, fresh=True) as fresh,
            session(self.url, self._trust, fresh=False) as kept,
        ):
            await self.loop.run(lambda number: self._send(number, kept if number % FRESH_EVERY else fresh))
        self.result.sent, self.result.seconds, self.result.begin = self.loop.sent, self.loop.seconds, self.loop.begin

    async def _send(self, number: int, session: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        failure = await self._write(session) if self._is_write(number) else await self._read(session)
        since = round(began - self.loop.begin, 2)
        if failure:
            self.result.failures.append((since, failure))
        else:
            self.result.answers.append((since, round(time.monotonic() - began, 4)))

    def _is_write(self, number: int) -> bool:
        return self.write is not None and number % self.write.every == 0

    async def _read(self, session: aiohttp.ClientSession) -> str:
        """Why it has failed; empty if it has not."""
        return await self._ask(session.get(self.url, allow_redirects=False), self.expected)

    async def _write(self, session: aiohttp.ClientSession) -> str:
        """Likewise."""
        assert self.write
        headers = {"Authorization": f"Bearer {self.write.token}"}
        body = SUBJECT.body() if self.write.body is None else self.write.body
        failure = await self._ask(session.post(self.write.url, json=body, headers=headers), CREATED)
        return failure and f"{WRITE_FAILED}{failure}"

    async def _ask(self, asking: Asking, expected: int) -> str:
        try:
            async with asking as answer:
                await answer.read()
                if answer.status != expected:
                    # The service gives every answer an id; what comes without was made up on the way.
                    who = "the service" if "X-Request-ID" in answer.headers else "the ingress"
                    return f"status {answer.status} of {who}"
                if answer.method == "POST":
                    self.result.made.append(answer.headers["Location"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        return ""


class Load:
    """A sender in a process of its own while the block runs: `with Load(...) as load: ...`, then `load.result`.

    `rate` is in requests a second, of a machine at full speed (machine.py); an answer with another status than
    `expected` has failed.
    """

    def __init__(
        self,
        url: str,
        authority: Path,
        *,
        rate: float = 100.0,
        expected: int = SUBJECT.status,
        write: Write | None = None,
    ) -> None:
        if rate > MAX_RATE:
            raise ValueError(f"{rate} requests a second are more than {MAX_RATE}")
        self.rate = round(rate / slowness(), 1)
        self.sent = 0
        self.result = Result()
        options = ["--authority", str(authority), "--rate", str(self.rate), "--expected", str(expected)]
        self._argv = [sys.executable, "-m", "tests.e2e.load", url, *options]
        # No token is to be seen in the list of processes.
        self._environment = os.environ | ({WRITE: json.dumps(asdict(write))} if write else {})

    def __enter__(self) -> "Load":
        self._process = subprocess.Popen(self._argv, stdout=subprocess.PIPE, text=True, env=self._environment)
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

    def go_on(self, seconds: float) -> None:
        """Wait until as many more requests were sent as the load has in so many seconds."""
        self.sent_at_least(self.sent + int(seconds * self.rate), 2 * seconds + 60)

    def _read(self) -> None:
        """A line of JSON each time: how many were sent so far, and at the end the whole result."""
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                self.sent = said["sent"]
                if "failures" in said:
                    said |= {name: [tuple(each) for each in said[name]] for name in ("failures", "answers")}
                    self.result = Result(**said)


@contextmanager
def under(load: Load) -> Iterator[Load]:
    """A load that is well under way when the block begins, and goes on for a while after it."""
    with load:
        load.go_on(SETTLE_SECONDS)
        yield load
        load.go_on(SETTLE_SECONDS)


def assert_lost_nothing(load: Load) -> None:
    result = load.result
    assert result.rate > 0.9 * load.rate, f"only {result.rate:.0f} requests a second were sent: nothing was proven"
    assert result.failed == 0, result.reasons()


def lost(load: Load, stored: Callable[[str], str]) -> set[str]:
    """Of the acknowledged writes those that the database has not; `stored` asks it."""
    acknowledged = {location.rpartition("/")[2] for location in load.result.made}
    return acknowledged - set(stored(f"SELECT {SUBJECT.column} FROM {SUBJECT.table}").split())  # noqa: S608


def note(load: Load) -> str:
    written = f"{len(load.result.made)} writes; " if load.result.made else ""
    return f"{written}p50 {load.result.quantile(0.5) * 1000:.0f} ms, p99 {load.result.quantile(0.99) * 1000:.0f} ms"


async def _main(sender: Sender) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sender.loop.stop)
    running = asyncio.create_task(sender.run())
    while not running.done():
        print(json.dumps({"sent": sender.loop.sent}), flush=True)  # noqa: T201
        await asyncio.wait([running], timeout=0.2)
    running.result()
    print(json.dumps(asdict(sender.result)), flush=True)  # noqa: T201


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.load", description="Ask for a URL of 127.0.0.1 at a fixed rate."
    )
    parser.add_argument("url")
    parser.add_argument("--authority", type=Path, required=True, help="certificate of the authority to trust")
    parser.add_argument("--rate", type=float, default=100.0, help=f"requests a second, at most {MAX_RATE:.0f}")
    parser.add_argument("--expected", type=int, default=SUBJECT.status, help="the status of a good answer")
    args = parser.parse_args()
    write = Write(**json.loads(os.environ[WRITE])) if WRITE in os.environ else None
    asyncio.run(_main(Sender(args.url, args.authority, min(args.rate, MAX_RATE), args.expected, write)))
