"""A load past the limit of a service, sent by vegeta: a generator in Python would lack CPU before the service does.

https://github.com/tsenart/vegeta. The load is open: requests leave on schedule, whatever becomes of those before. It
goes to 127.0.0.1 alone, and is bounded in rate and time.
"""

import csv
import json
import math
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from k8s.load.open_loop import LOOPBACK, TIMEOUT
from toolkit.process import Failure, output

MAX_RATE = 3000
MAX_SECONDS = 300
REFUSALS = {429, 503}
NANO = 1e-9


@dataclass(frozen=True)
class Answer:
    """What became of one request: when it began (seconds since 1970), how long it took, and the status (0 for none)."""

    began: float
    seconds: float
    status: int
    error: str = ""

    @property
    def ended(self) -> float:
        return self.began + self.seconds


@dataclass
class Outcome:
    """What became of all requests of a load of `rate` requests a second."""

    rate: int
    expected: int
    answers: list[Answer] = field(default_factory=list)

    def between(self, first: float, last: float) -> "Outcome":
        """The requests that began in a span of time, both ends in seconds since 1970."""
        return Outcome(self.rate, self.expected, [a for a in self.answers if first <= a.began < last])

    @property
    def sent(self) -> int:
        return len(self.answers)

    @property
    def served(self) -> list[Answer]:
        """Those that got the answer that was asked for."""
        return [a for a in self.answers if a.status == self.expected]

    @property
    def refused(self) -> list[Answer]:
        """Those that were told to come again later."""
        return [a for a in self.answers if a.status in REFUSALS]

    @property
    def failed(self) -> list[Answer]:
        return [a for a in self.answers if a.status != self.expected and a.status not in REFUSALS]

    def reasons(self) -> str:
        """The failures by reason, the most frequent first."""
        counted = Counter(a.error or f"status {a.status}" for a in self.failed).most_common(5)
        return ", ".join(f"{count} x {reason[:160]}" for reason, count in counted) or "none failed"


def quantile(answers: Iterable[Answer], q: float) -> float:
    """A latency in seconds; not a number where there is none."""
    ordered = sorted(a.seconds for a in answers)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else math.nan


class Load:
    """A load while a block runs: `with Load(...).running() as load: ...`, and then `load.outcome`.

    A third of the requests come on connections of their own, each with a whole TLS handshake, as first visits do; the
    others on connections that are kept.
    """

    def __init__(
        self, program: Path, url: str, authority: Path, *, rate: int, seconds: int, expected: int = 307
    ) -> None:
        if not 0 < rate <= MAX_RATE or not 0 < seconds <= MAX_SECONDS:
            raise ValueError(
                f"at most {MAX_RATE} requests a second for at most {MAX_SECONDS} s, not {rate} for {seconds} s"
            )
        self.program = program
        self.url = url
        self.authority = authority
        self.rate = rate
        self.seconds = seconds
        self.outcome = Outcome(rate, expected)

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Sends until the time is over, and then waits for the last answers. An exception ends it at once."""
        with tempfile.TemporaryDirectory() as temporary, ExitStack() as cleanup:
            files = {name: Path(temporary) / name for name in ("fresh", "kept")}
            rates = {"fresh": self.rate // 3, "kept": self.rate - self.rate // 3}
            attacks = [self._attack(files[name], rates[name], name, cleanup) for name in files if rates[name]]
            yield self
            for attack in attacks:
                try:
                    said = attack.communicate(timeout=self.seconds + TIMEOUT + 10)[1].decode()
                except subprocess.TimeoutExpired as error:
                    raise Failure(f"This machine is too busy to send {self.rate} requests a second.") from error
                if attack.returncode:
                    raise Failure(f"The load generator failed: {said.strip()[-300:]}")
            for file in files.values():
                self.outcome.answers += read(output([self.program, "encode", "--to=csv", file]))
        self.outcome.answers.sort(key=lambda a: a.began)

    def send(self) -> Outcome:
        """The whole load, with nothing beside it."""
        with self.running():
            pass
        return self.outcome

    def _attack(self, file: Path, rate: int, name: str, cleanup: ExitStack) -> "subprocess.Popen[bytes]":
        parts = urlsplit(self.url)
        options = [f"-rate={rate}/1s", f"-duration={self.seconds}s", f"-timeout={TIMEOUT:.0f}s", "-redirects=-1"]
        options += [f"-root-certs={self.authority}", f"-keepalive={'true' if name == 'kept' else 'false'}"]
        # HTTP/1.1, as most who call an API speak it: with HTTP/2 all requests share one connection.
        options += ["-http2=false", "-max-body=0", "-format=json", f"-output={file}"]
        options += [f"-connect-to={parts.hostname}:{parts.port}:{LOOPBACK}:{parts.port}"]
        argv = [str(self.program), "attack", *options]
        attack = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        cleanup.callback(_end, attack)
        assert attack.stdin  # noqa: S101 - for the type checker
        attack.stdin.write(json.dumps({"method": "GET", "url": self.url}).encode() + b"\n")
        attack.stdin.close()
        attack.stdin = None  # communicate() would write to it
        return attack


def _end(attack: "subprocess.Popen[bytes]") -> None:
    if attack.poll() is None:
        attack.kill()
        attack.wait()


def read(table: str) -> list[Answer]:
    """The answers in a table of `vegeta encode --to=csv`: time and latency are in nanoseconds."""
    rows = csv.reader(table.splitlines())
    return [Answer(int(row[0]) * NANO, int(row[2]) * NANO, int(row[1]), row[5]) for row in rows]
