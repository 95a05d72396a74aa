"""Tokens that have been verified, so that each costs one signature check and not one a request."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class TokenCache(Generic[V]):
    """What verified tokens have said, until they expire or the keys change; the least recently used leave first.

    Tokens are credentials: only their hashes are kept. Those that failed are not kept at all, or
    anyone could fill the cache.
    """

    def __init__(self, max_entries: int, clock: Callable[[], float] = time.time) -> None:
        self.max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[V, float]] = OrderedDict()
        self._keys: object = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: bytes, keys: object) -> V | None:
        """What `token` said when `keys` verified it; None if they have not, or it has expired since."""
        if keys is not self._keys:
            return None
        digest = hashlib.sha256(token).digest()
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            del self._entries[digest]
            return None
        self._entries.move_to_end(digest)
        return entry[0]

    def put(self, token: bytes, keys: object, value: V, expires: float) -> None:
        """Keep `value` until `expires`, in seconds of the clock; what other keys have verified goes."""
        if keys is not self._keys:
            self._entries.clear()
            self._keys = keys
        self._entries[hashlib.sha256(token).digest()] = (value, expires)
        if len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)
