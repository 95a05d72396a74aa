"""The layer of a cache that is in Valkey, and how it never keeps what was read before a change."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from app.data.valkey import Valkey, ValkeyUnavailableError

V = TypeVar("V")

VALUE, NONE, CHANGED = b"=", b"-", b"!"

# A reader may offer what it read this long ago at the most, and a change is marked for longer than that. The rest is
# for the offer's way to Valkey.
FILL_SECONDS = 5.0
MARK_SECONDS = 10.0


class SharedCache(Generic[V]):
    """Answers of a database, kept for `seconds`; "there is none" for `missing_seconds`.

    A change does not delete the old answer but puts a mark in its place for a while, and readers may only add an
    answer where there is nothing at all. So one that asked the database just before the change, and is slower than
    the change, finds the mark and cannot put the old answer back. While there is a mark, the database is asked.

    Keys begin with `prefix`: choose another when the encoding changes, since two releases run side by side during a
    rollout.
    """

    def __init__(
        self,
        valkey: Valkey,
        prefix: str,
        encode: Callable[[V], bytes],
        decode: Callable[[bytes], V],
        seconds: float,
        missing_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`decode` raises ValueError for what is no answer."""
        self._valkey = valkey
        self._prefix = prefix
        self._encode = encode
        self._decode = decode
        self._seconds = seconds
        self._missing_seconds = missing_seconds
        self._clock = clock

    async def find(self, key: str) -> tuple[str, V | None]:
        """`hit` and the answer; or `miss`, `changed`, `corrupt` or `unavailable` and None."""
        name = self._name(key)
        try:
            stored = await self._valkey.call("cache_get", lambda client: client.get(name))
        except ValkeyUnavailableError:
            return "unavailable", None
        if stored is None:
            return "miss", None
        kind, content = stored[:1], stored[1:]
        if kind == CHANGED:
            return "changed", None
        if stored == NONE:
            return "hit", None
        try:
            if kind == VALUE:
                return "hit", self._decode(content)
        except ValueError:
            pass
        return "corrupt", None

    async def fill(self, key: str, value: V | None, begun: float) -> str:
        """Offer what the database was asked for at `begun`, by the clock given.

        Returns:
            `stored`; `refused` if there is something else, such as a mark; `late` or `unavailable`.
        """
        age = self._clock() - begun
        left = (self._missing_seconds if value is None else self._seconds) - age
        milliseconds = int(left * 1000)
        if age > FILL_SECONDS or milliseconds <= 0:
            return "late"
        name, content = self._name(key), NONE if value is None else VALUE + self._encode(value)
        try:
            stored = await self._valkey.call(
                "cache_fill", lambda client: client.set(name, content, px=milliseconds, nx=True)
            )
        except ValkeyUnavailableError:
            return "unavailable"
        return "stored" if stored else "refused"

    async def changed(self, key: str) -> bool:
        """Mark `key` as changed; returns whether Valkey could be told."""
        name = self._name(key)
        try:
            await self._valkey.call(
                "cache_change", lambda client: client.set(name, CHANGED, px=int(MARK_SECONDS * 1000)), insist=True
            )
        except ValkeyUnavailableError:
            return False
        return True

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"
