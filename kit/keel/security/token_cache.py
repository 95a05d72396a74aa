"""A cache of verified tokens, so that a token's signature is verified once, and not for each request."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class TokenCache(Generic[V]):
    """Keeps the content of verified tokens until they expire or the keys change; evicts the least recently used.

    Tokens are credentials, so only their hashes are kept. Tokens that failed are not kept: otherwise anybody could fill
    the cache.
    """

    def __init__(self, max_entries: int, clock: Callable[[], float] = time.time) -> None:
        self.max_entries = max_entries
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[V, float]] = OrderedDict()
        self._keys: object = None

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: bytes, keys: object) -> V | None:
        """The content of `token` if `keys` have verified it and it has not expired; otherwise None."""
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
        """Keep `value` until `expires`, by the clock. What other keys have verified is dropped."""
        if keys is not self._keys:
            self._entries.clear()
            self._keys = keys
        self._entries[hashlib.sha256(token).digest()] = (value, expires)
        if len(self._entries) > self.max_entries:
            self._entries.popitem(last=False)
