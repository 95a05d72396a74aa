"""A bounded cache in the memory of the process, which loads each key only once at a time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True)
class Entry(Generic[V]):
    """An answer that is fresh until `expires`. It may be used as a stale one until `ends`."""

    value: V | None
    expires: float
    ends: float


class LocalCache(Generic[V]):
    """Keeps answers for `seconds`, and "there is none" for `missing_seconds`; evicts the least recently used.

    The time counts from the start of the load. A change by another process is seen when the answer here has expired.
    For `stale_seconds` more, `last` still returns it.
    """

    def __init__(
        self,
        seconds: float,
        missing_seconds: float,
        max_entries: int,
        clock: Callable[[], float] = time.monotonic,
        stale_seconds: float = 0,
    ) -> None:
        self.seconds = seconds
        self.missing_seconds = missing_seconds
        self.max_entries = max_entries
        self.stale_seconds = stale_seconds
        self._clock = clock
        self._entries: OrderedDict[str, Entry[V]] = OrderedDict()
        self._loading: dict[str, asyncio.Future[Entry[V]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str) -> Entry[V] | None:
        """The fresh answer for `key`; None if there is none."""
        entry = self._entries.get(key)
        if entry is None or entry.expires <= self._clock():
            return None
        self._entries.move_to_end(key)
        return entry

    def last(self, key: str) -> Entry[V] | None:
        """The answer for `key`, fresh or stale; None if there is neither."""
        entry = self._entries.get(key)
        return None if entry is None or entry.ends <= self._clock() else entry

    def is_loading(self, key: str) -> bool:
        """Whether `key` is being loaded."""
        return key in self._loading

    def entry(self, value: V | None, begun: float) -> Entry[V]:
        """An entry for an answer whose load began at `begun`: its time counts from then."""
        if value is None:
            expires = begun + self.missing_seconds
            return Entry(value, expires, expires)
        expires = begun + self.seconds
        return Entry(value, expires, expires + self.stale_seconds)

    async def get(self, key: str, load: Callable[[str], Awaitable[V | None]]) -> V | None:
        """The answer for `key`: the fresh one, or else what `load` returns."""

        async def read(key: str) -> Entry[V]:
            begun = self._clock()
            return self.entry(await load(key), begun)

        entry = self.find(key) or await self.load(key, read)
        return entry.value

    async def load(self, key: str, load: Callable[[str], Awaitable[Entry[V]]]) -> Entry[V]:
        """The answer for `key` from `load`, which is called once however many callers wait.

        An error of `load` is raised for all of them, and is not kept.
        """
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.ensure_future(load(key))
            loading.add_done_callback(lambda done: self._loaded(key, done))
        # If one client disconnects, the others must still get the answer.
        return await asyncio.shield(loading)

    def forget(self, key: str) -> None:
        """Forget the answer for `key`, and do not keep that of a load that is under way."""
        self._entries.pop(key, None)
        self._loading.pop(key, None)

    def _loaded(self, key: str, done: "asyncio.Future[Entry[V]]") -> None:
        failed = done.cancelled() or done.exception() is not None  # this also marks the exception as seen
        if self._loading.get(key) is not done:
            return  # forgotten meanwhile: the answer may be from before the change
        del self._loading[key]
        if failed:
            return
        entry = done.result()
        if entry.ends > self._clock():
            self._entries[key] = entry
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
