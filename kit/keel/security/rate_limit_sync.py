"""Counts of the rate limits, shared between processes through Valkey.

Every `interval` seconds a process adds what it has counted since to the totals in Valkey, and learns
them. So all processes together allow a client at most its limit and what it sends within one interval.
Without Valkey each process allows the whole limit by itself. See docs/decisions/0005-rate-limits.md.
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

MAX_COUNTERS = 250  # sent at once, for each kind of client: more would hold up the requests
KEPT_SECONDS = 2 * WINDOW + 10
TAGGED = len("rate:{f}")

# One script: three commands for each counter take three times as long to write and read. With no keys it is a ping.
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
    """What is sent of one counter: once it is, the others know of `known` requests."""

    kind: str
    name: str
    counter: WindowCount
    known: int


class RateLimitSync:
    def __init__(
        self, windows: Mapping[str, SlidingWindow], valkey: Valkey | None, interval: float, registry: CollectorRegistry
    ) -> None:
        self._windows = windows
        self._valkey = valkey
        self._interval = interval
        self._fallback = Gauge(
            "rate_limit_fallback", "1 while each process counts alone, for want of Valkey.", registry=registry
        )
        self._fallback.set(1)
        syncs = Counter(
            "rate_limit_syncs", "Exchanges of counts with Valkey, by outcome.", ["outcome"], registry=registry
        )
        self._syncs = {outcome: syncs.labels(outcome) for outcome in ("ok", "failed")}
        self._alone = True

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Exchange counts while inside, and once more at the end."""
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
        """Send what is new and learn the totals; what cannot be sent now is sent later."""
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
            for count in chain.from_iterable(parts.values()):  # those that were not refused add nothing next time
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
    """Send all parts in one round trip, and learn the totals of those that are not refused.

    Raises:
        ResponseError: the first refusal, if there is one.
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
    """Hashed, so that nobody reads addresses and subjects in Valkey by accident.

    In a cluster the braces decide on the hash slot, and the keys of one call must be of one slot. With one digit of 16
    there are few calls, and a cluster can spread them.
    """
    digest = hashlib.blake2b(f"{kind}:{key}".encode(), digest_size=16).hexdigest()
    return f"rate:{{{digest[0]}}}{digest}"


def _learn(counter: WindowCount, known: int, total: int, then: int) -> None:
    # Totals only grow, unless Valkey has lost its memory.
    counter.sent = known
    counter.others = max(counter.others, total - known)
    if counter.before is None and then:
        counter.before = WindowCount(counter.key, counter.window - 1)
    if counter.before is not None:
        counter.before.others = max(counter.before.others, then - counter.before.sent)
