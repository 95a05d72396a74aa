"""A small cache in the process, in front of something slow: bounded, and one question at a time for each key."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(slots=True)
class Entry(Generic[V]):
    value: V | None
    expires: float


class LocalCache(Generic[V]):
    """Keeps answers for `seconds`, and "there is none" for `missing_seconds`; the least recently used leave first.

    The time counts from when the question was asked. Another process's change is seen when the answer kept here has
    expired: that is how old an answer can be.
    """

    def __init__(
        self,
        seconds: float,
        missing_seconds: float,
        max_entries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.missing_seconds = missing_seconds
        self.max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[str, Entry[V]] = OrderedDict()
        self._loading: dict[str, asyncio.Future[V | None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: str) -> Entry[V] | None:
        """What is kept of `key`, None if nothing is."""
        entry = self._entries.get(key)
        if entry is None or entry.expires <= self._clock():
            return None
        self._entries.move_to_end(key)
        return entry

    def is_loading(self, key: str) -> bool:
        return key in self._loading

    async def get(self, key: str, load: Callable[[str], Awaitable[V | None]]) -> V | None:
        """What is kept of `key`, or else what `load` answers."""
        entry = self.find(key)
        return entry.value if entry is not None else await self.load(key, load)

    async def load(self, key: str, load: Callable[[str], Awaitable[V | None]]) -> V | None:
        """The answer for `key` from `load`, which is asked once however many wait.

        Whatever `load` raises, everyone who waits for it gets; it is not kept.
        """
        loading = self._loading.get(key)
        if loading is None:
            begun = self._clock()
            loading = self._loading[key] = asyncio.ensure_future(load(key))
            loading.add_done_callback(lambda done: self._loaded(key, done, begun))
        # One client that hangs up must not take the answer from the others.
        return await asyncio.shield(loading)

    def forget(self, key: str) -> None:
        """Ask again next time, and keep no answer to what is being asked now."""
        self._entries.pop(key, None)
        self._loading.pop(key, None)

    def _loaded(self, key: str, done: "asyncio.Future[V | None]", begun: float) -> None:
        failed = done.cancelled() or done.exception() is not None  # this also marks the exception as seen
        if self._loading.get(key) is not done:
            return  # forgotten meanwhile: the answer may be from before the change
        del self._loading[key]
        if failed:
            return
        value = done.result()
        # From when it was asked: the answer may have been true then and no longer.
        expires = begun + (self.missing_seconds if value is None else self.seconds)
        if expires > self._clock():
            self._entries[key] = Entry(value, expires)
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
