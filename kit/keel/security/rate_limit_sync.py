"""Shares the counts of the rate limits between processes, through Valkey.

Every `interval` seconds a process adds its new counts to the totals in Valkey, and reads the totals. So all processes
together allow a client its limit, plus what it sends within one interval. Without Valkey each process allows the whole
limit by itself. See docs/decisions/0005-rate-limits.md.
"""

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from keel.data.valkey import Valkey, ValkeyUnavailableError
from keel.security.sliding_window import WINDOW, SlidingWindow, WindowCount

if TYPE_CHECKING:
    from keel.data.valkey_client import Valkey as Client

log = structlog.get_logger("keel.security.rate_limit_sync")

MAX_COUNTERS = 250  # sent at once for each kind of client; more would delay requests
KEPT_SECONDS = 2 * WINDOW + 10
TAGGED = len("rate:{f}")

# A script, because three commands for each counter take three times as long. Without keys it is a ping.
SCRIPT = """
local answers = {}
for i = 1, #KEYS, 2 do
    answers[i] = redis.call('INCRBY', KEYS[i], ARGV[(i + 3) / 2])
    redis.call('EXPIRE', KEYS[i], ARGV[1])
    answers[i + 1] = redis.call('GET', KEYS[i + 1]) or 0
end
return answers
"""


class Count(NamedTuple):
    """A counter that is being sent. After that, the other processes know of `known` requests."""

    kind: str
    name: str
    counter: WindowCount
    known: int


class RateLimitSync:
    """Synchronizes the windows of this process with those of the others."""

    def __init__(
        self, windows: Mapping[str, SlidingWindow], valkey: Valkey | None, interval: float, registry: CollectorRegistry
    ) -> None:
        self._windows = windows
        self._valkey = valkey
        self._interval = interval
        self._fallback = Gauge(
            "rate_limit_fallback", "1 while each process counts by itself, without Valkey.", registry=registry
        )
        self._fallback.set(1)
        syncs = Counter(
            "rate_limit_syncs", "Synchronizations of counts with Valkey, by outcome.", ["outcome"], registry=registry
        )
        self._syncs = {outcome: syncs.labels(outcome) for outcome in ("ok", "failed")}
        self._alone = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Synchronize at regular intervals while inside, and once more at the end."""
        if self._valkey is None:
            yield
            return
        stop = asyncio.Event()
        task = asyncio.create_task(self._repeat(self._valkey, stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _repeat(self, valkey: Valkey, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.sync(valkey)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._interval)
        await self.sync(valkey)

    async def sync(self, valkey: Valkey) -> None:
        """Send new counts and read the totals. Counts that cannot be sent now are sent later."""
        parts: defaultdict[str, list[Count]] = defaultdict(list)
        for kind, window in self._windows.items():
            for counter in window.take_unsent(MAX_COUNTERS):
                name = _name(kind, counter.key)
                parts[name[:TAGGED]].append(Count(kind, name, counter, counter.mine))
        if not parts and not self._alone:
            return
        try:
            await valkey.call("rate_limit", lambda client: _send(client, parts.values()))
        except ValkeyUnavailableError:
            for count in chain.from_iterable(parts.values()):  # for those that were sent, nothing is added next time
                self._windows[count.kind].put_back([count.counter])
            self._note(alone=True)
            return
        self._note(alone=False)

    def _note(self, *, alone: bool) -> None:
        self._syncs["failed" if alone else "ok"].inc()
        self._fallback.set(alone)
        if alone != self._alone:
            if alone:
                log.warning("rate limits are counted by each process alone")
            else:
                log.info("rate limits are shared")
        self._alone = alone


async def _send(client: "Client", parts: Iterable[list[Count]]) -> None:
    """Send all parts in one round trip, and read the totals of those that Valkey accepts.

    Raises:
        ResponseError: Valkey has refused a part; the first such error.
    """
    pipeline = client.pipeline(transaction=False)
    sent = list(parts) or [[]]
    for counts in sent:
        keys = [f"{each.name}:{number}" for each in counts for number in (each.counter.window, each.counter.window - 1)]
        deltas = [str(each.known - each.counter.sent) for each in counts]
        pipeline.eval(SCRIPT, len(keys), *keys, str(KEPT_SECONDS), *deltas)
    refusals = []
    for counts, answer in zip(sent, await pipeline.execute(raise_on_error=False), strict=True):
        if isinstance(answer, Exception):
            refusals.append(answer)
            continue
        for each, total, then in zip(counts, answer[::2], answer[1::2], strict=True):
            _learn(each.counter, each.known, int(total), int(then))
    if refusals:
        raise refusals[0]


def _name(kind: str, key: str) -> str:
    """The key of a counter. It is hashed, so that addresses and subjects cannot be read from Valkey.

    In a cluster the text in braces decides on the hash slot, and the keys of one call must be in one slot. One hex
    digit makes at most 16 calls, and still spreads the keys over a cluster.
    """
    digest = hashlib.blake2b(f"{kind}:{key}".encode(), digest_size=16).hexdigest()
    return f"rate:{{{digest[0]}}}{digest}"


def _learn(counter: WindowCount, known: int, total: int, then: int) -> None:
    # Totals only grow, unless Valkey has lost its data: hence max().
    counter.sent = known
    counter.others = max(counter.others, total - known)
    if counter.before is None and then:
        counter.before = WindowCount(counter.key, counter.window - 1)
    if counter.before is not None:
        counter.before.others = max(counter.before.others, then - counter.before.sent)
