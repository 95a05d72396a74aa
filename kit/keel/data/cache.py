"""A cache of two layers in front of the database: this process's memory, and Valkey, which the processes share."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from keel.data.cache_metrics import CacheMetrics
from keel.data.circuit_breaker import CircuitBreaker
from keel.data.database import DatabaseUnavailableError
from keel.data.local_cache import Entry, LocalCache
from keel.data.shared_cache import Found, SharedCache

V = TypeVar("V")

Load = Callable[[str], Awaitable[V | None]]

# While the database is away it is asked once in this time, in the background; for so long a stale answer is given.
RETRY_SECONDS = 1.0
# After so long without another failure the database is waited for again: it may be back, and nobody has asked it since.
# Longer than the time-outs of one question together, as they are by default.
BELIEVED_SECONDS = 10.0


class Cache(Generic[V]):
    """Answers from memory for `seconds` after the question was first asked; "there is none" for `missing_seconds`.

    How old an answer can be:

    - The process that made a change, and called `changed`, sees it at once.
    - Any other sees it after at most `seconds`, and sees what did not exist before after at most `missing_seconds`.
    - Where Valkey could not be told of a change (`cache_changes_total{result="failed"}`), every process may see what
      Valkey still has: the time that `shared` keeps it comes on top.
    - While the database is unavailable, answers may be older by `stale_seconds` (RFC 5861, stale-if-error). Where
      Valkey answers, only what it has is given: what it has not may have changed.

    A fault of Valkey never reaches the caller: the database is asked instead.
    """

    def __init__(
        self,
        name: str,
        metrics: CacheMetrics,
        shared: SharedCache[V] | None = None,
        *,
        seconds: float,
        missing_seconds: float = 1.0,
        stale_seconds: float = 0,
        as_stale: Callable[[V], V] = lambda value: value,
        max_entries: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is what the metrics call it; `shared` must go by the same clock; `as_stale` marks an answer."""
        missing_seconds = min(seconds, missing_seconds)
        in_memory = stale_seconds if seconds else 0
        self._local: LocalCache[V] = LocalCache(seconds, missing_seconds, max_entries, clock, in_memory)
        self._shared = shared
        self._as_stale = as_stale
        self._clock = clock
        self._counts = metrics.of(name, self._local.__len__)
        self._breaker = CircuitBreaker(RETRY_SECONDS, clock)
        self._failed_at = -math.inf
        self._trials: set[asyncio.Task[None]] = set()

    async def get(self, key: str, load: Load[V]) -> V | None:
        """The answer for `key`, from `load` if need be, which is asked once however many wait here.

        Raises:
            Exception: whatever `load` does; it is not kept. DatabaseUnavailableError only where there is no stale
                answer.
        """
        entry = self._local.find(key)
        if entry is None:
            self._counts.requests["local", "wait" if self._local.is_loading(key) else "miss"] += 1
            entry = await self._local.load(key, lambda key: self._read(key, load))
        else:
            self._counts.local_hits += 1
        return entry.value

    async def changed(self, key: str) -> None:
        """Call this when a change of `key` has been committed, be it a first or a last one."""
        try:
            if self._shared is not None:
                notified = await self._shared.changed(key)
                self._counts.changes["notified" if notified else "failed"] += 1
        finally:
            # After Valkey has been told: a question asked before that may still be answered with the old value.
            self._local.forget(key)

    async def _read(self, key: str, load: Load[V]) -> Entry[V]:
        begun = self._clock()
        found = await self._find(key)
        if found.result == "hit":
            return self._local.entry(found.value, begun)
        if self._is_away() and (stale := self._stale(key, found)):
            if self._breaker.allows():
                self._try_again(key, load, found)
            return stale
        try:
            return await self._ask(key, load, found)
        except DatabaseUnavailableError:
            if stale := self._stale(key, found):
                return stale
            raise

    async def _find(self, key: str) -> Found[V]:
        if self._shared is None:
            return Found("unavailable")
        found = await self._shared.find(key)
        self._counts.requests["shared", found.result] += 1
        return found

    async def _ask(self, key: str, load: Load[V], found: Found[V]) -> Entry[V]:
        """The answer of the database, which Valkey is offered."""
        begun = self._clock()
        try:
            value = await load(key)
        except Exception as error:
            self._counts.requests["database", "error"] += 1
            if isinstance(error, DatabaseUnavailableError):
                self._failed()
            raise
        self._breaker.succeeded()
        self._counts.requests["database", "miss" if value is None else "hit"] += 1
        if self._shared is not None and found.result in ("miss", "stale"):
            self._counts.fills[await self._shared.fill(key, value, begun, found.stored)] += 1
        return self._local.entry(value, begun)

    def _failed(self) -> None:
        self._failed_at = self._clock()
        if not self._breaker.open:  # or the trial that failed would put off the next one
            self._breaker.failed()

    def _is_away(self) -> bool:
        return self._breaker.open and self._clock() - self._failed_at < BELIEVED_SECONDS

    def _stale(self, key: str, found: Found[V]) -> Entry[V] | None:
        """What may be given for a moment while the database is away. Memory is asked only for want of Valkey."""
        last: Found[V] | Entry[V] | None = None
        if found.result == "stale":
            last = found
        elif found.result == "unavailable":
            last = self._local.last(key)
        now = self._clock()
        if last is None or last.value is None or last.ends <= now:
            return None
        return Entry(self._as_stale(last.value), min(now + RETRY_SECONDS, last.ends), last.ends)

    def _try_again(self, key: str, load: Load[V], found: Found[V]) -> None:
        """Ask the database in the background, so that nobody waits for one that may be away still."""

        async def ask() -> None:
            with contextlib.suppress(DatabaseUnavailableError):
                await self._ask(key, load, found)

        trial = asyncio.create_task(ask())
        self._trials.add(trial)
        trial.add_done_callback(self._trials.discard)
