"""A cache of two layers in front of the database: the memory of this process, and Valkey, which all processes share."""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Generic, TypeVar

from keel.data.cache_metrics import CacheMetrics
from keel.data.circuit_breaker import CircuitBreaker
from keel.data.database import DatabaseUnavailableError
from keel.data.local_cache import Entry, LocalCache
from keel.data.shared_cache import Found, SharedCache

V = TypeVar("V")

Load = Callable[[str], Awaitable[V | None]]

# While the database is unavailable, it is tried once in this time, in the background. A stale answer is valid for as
# long.
RETRY_SECONDS = 1.0
# After this time without another failure, requests wait for the database again: it may be back without anybody having
# tried it. Longer than all default time-outs of one query together.
OUTAGE_SECONDS = 10.0


class Cache(Generic[V]):
    """Keeps an answer in memory for `seconds` after the database was asked, and "there is none" for `missing_seconds`.

    How old an answer can be:

    - The process that made a change and called `changed` sees it at once.
    - Other processes see a change after at most `seconds`, and something new after at most `missing_seconds`.
    - If Valkey could not be notified of a change (`cache_changes_total{result="failed"}`), a process may read the old
      answer from Valkey: add the time for which `shared` keeps it.
    - While the database is unavailable, answers may be older by `stale_seconds` (RFC 5861, stale-if-error). If Valkey
      answers, only its entries are used then: an entry that it lacks may have changed.

    If Valkey fails, the caller does not notice: the database is asked instead.
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
        """`name` is the label in the metrics; `shared` must use the same clock; `as_stale` marks an answer as stale."""
        missing_seconds = min(seconds, missing_seconds)
        in_memory = stale_seconds if seconds else 0
        self._local: LocalCache[V] = LocalCache(seconds, missing_seconds, max_entries, clock, in_memory)
        self._shared = shared
        self._as_stale = as_stale
        self._clock = clock
        self._counts = metrics.of(name, self._local.__len__)
        self._breaker = CircuitBreaker(RETRY_SECONDS, clock)
        self._failed_at = -math.inf
        self._background: set[asyncio.Task[None]] = set()

    async def get(self, key: str, load: Load[V]) -> V | None:
        """The answer for `key`: from the cache, or from `load`, which is called once however many callers wait.

        Raises:
            Exception: any error of `load`; errors are not cached. DatabaseUnavailableError only if there is no stale
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
        """Forget the answer for `key`. Call this after a commit that created, changed or deleted it.

        Valkey is notified before this returns; where it did not answer a moment ago, that is tried in the background.
        """
        if self._shared is None:
            self._local.forget(key)
        elif self._shared.is_away:
            self._local.forget(key)
            self._in_background(self._notify(self._shared, key))
        else:
            await self._notify(self._shared, key)

    async def _notify(self, shared: SharedCache[V], key: str) -> None:
        try:
            notified = await shared.changed(key)
            self._counts.changes["notified" if notified else "failed"] += 1
        finally:
            # After Valkey was notified: until then a concurrent read may still get the old answer.
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
        """The answer of the database, which is also written to Valkey."""
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
        if not self._breaker.open:  # a failed trial must not put off the next one
            self._breaker.failed()

    def _is_away(self) -> bool:
        return self._breaker.open and self._clock() - self._failed_at < OUTAGE_SECONDS

    def _stale(self, key: str, found: Found[V]) -> Entry[V] | None:
        """The stale answer while the database is unavailable; from memory only if Valkey does not answer."""
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
        """Ask the database in the background, so that no request waits while it may still be unavailable."""

        async def ask() -> None:
            with contextlib.suppress(DatabaseUnavailableError):
                await self._ask(key, load, found)

        self._in_background(ask())

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._background.discard)
