"""A cache of two layers in front of the database: this process's memory, and Valkey, which the processes share."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from app.data.cache_metrics import CacheMetrics
from app.data.local_cache import LocalCache
from app.data.shared_cache import SharedCache

V = TypeVar("V")

Load = Callable[[str], Awaitable[V | None]]


class Cache(Generic[V]):
    """Answers from memory for `seconds` after the question was first asked; "there is none" for `missing_seconds`.

    How old an answer can be:

    - The process that made a change, and called `changed`, sees it at once.
    - Any other sees it after at most `seconds`, and sees what did not exist before after at most `missing_seconds`.
    - Where Valkey could not be told of a change (`cache_changes_total{result="untold"}`), every process may see what
      Valkey still has: the time that `shared` keeps it comes on top.

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
        max_entries: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`name` is what the metrics call it; `shared` must go by the same clock."""
        self._local: LocalCache[V] = LocalCache(seconds, min(seconds, missing_seconds), max_entries, clock)
        self._shared = shared
        self._clock = clock
        self._counts = metrics.of(name, self._local.__len__)

    async def get(self, key: str, load: Load[V]) -> V | None:
        """The answer for `key`, from `load` if need be, which is asked once however many wait here.

        Raises:
            Exception: whatever `load` does; it is not kept.
        """
        entry = self._local.find(key)
        if entry is not None:
            self._counts.local_hits += 1
            return entry.value
        self._counts.requests["local", "wait" if self._local.is_loading(key) else "miss"] += 1
        return await self._local.load(key, lambda key: self._read(key, load))

    async def changed(self, key: str) -> None:
        """Call this when a change of `key` has been committed, be it a first or a last one."""
        try:
            if self._shared is not None:
                told = await self._shared.changed(key)
                self._counts.changes["told" if told else "untold"] += 1
        finally:
            # After Valkey has been told: a question asked before that may still be answered with the old value.
            self._local.forget(key)

    async def _read(self, key: str, load: Load[V]) -> V | None:
        if self._shared is None:
            return await self._ask(key, load)
        result, value = await self._shared.find(key)
        self._counts.requests["shared", result] += 1
        if result == "hit":
            return value
        begun = self._clock()
        value = await self._ask(key, load)
        if result == "miss":
            self._counts.fills[await self._shared.fill(key, value, begun)] += 1
        return value

    async def _ask(self, key: str, load: Load[V]) -> V | None:
        try:
            value = await load(key)
        except Exception:
            self._counts.requests["database", "error"] += 1
            raise
        self._counts.requests["database", "miss" if value is None else "hit"] += 1
        return value
