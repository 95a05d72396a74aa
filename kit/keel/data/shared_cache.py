"""The layer of a cache that is in Valkey. It never stores an answer that was read before a change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from keel.data.valkey import Valkey, ValkeyUnavailableError

V = TypeVar("V")

VALUE, NONE, CHANGED = b"=", b"-", b"!"

# A reader may store an answer that it read at most FILL_SECONDS ago. A change is marked for longer: the difference is
# for the reader's command to reach Valkey.
FILL_SECONDS = 5.0
MARK_SECONDS = 10.0

# Replace the stale answer that a reader has found, unless there is a mark or another answer now.
REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return false
end
return redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
"""


@dataclass(frozen=True, slots=True)
class Found(Generic[V]):
    """What Valkey has for a key: `result` is hit, stale, miss, changed, corrupt or unavailable."""

    result: str
    value: V | None = None
    """The answer, if it is a hit or stale."""
    ends: float = 0.0
    """Until when, by the cache's clock, a stale answer may be used."""
    stored: bytes | None = None
    """The stale answer as it is stored, for `fill` to replace."""


class SharedCache(Generic[V]):
    """Stores answers of the database: fresh for `seconds`, and for `stale_seconds` more in case it is unavailable.

    "There is none" is stored for `missing_seconds`. An answer's age is computed from the time of day at which it was
    read, so it is as exact as the clocks of the processes agree.

    A change replaces the old answer by a mark that stays for a while. A reader may store an answer only where there is
    nothing, or in place of the stale answer that it has found. So a slow reader that asked the database before the
    change finds the mark, and cannot put the old answer back. While there is a mark, the database is asked.

    Keys begin with `prefix`. Choose another one when the encoding changes, because two releases run side by side
    during a rollout.
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
        *,
        stale_seconds: float = 0,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        """`decode` must raise ValueError for bytes that `encode` has not made."""
        self._valkey = valkey
        self._prefix = prefix
        self._encode = encode
        self._decode = decode
        self._seconds = seconds
        self._missing_seconds = missing_seconds
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._time_of_day = time_of_day

    @property
    def is_away(self) -> bool:
        """Valkey did not answer a moment ago."""
        return self._valkey.is_away

    async def find(self, key: str) -> Found[V]:
        """What Valkey has for `key`. It does not raise if that is corrupt or Valkey is unavailable."""
        name = self._name(key)
        try:
            stored = await self._valkey.call("cache_get", lambda client: client.get(name))
        except ValkeyUnavailableError:
            return Found("unavailable")
        if stored is None:
            return Found("miss")
        if stored[:1] == CHANGED:
            return Found("changed")
        if stored == NONE:
            return Found("hit")
        try:
            return self._answer(stored)
        except ValueError:
            return Found("corrupt")

    async def fill(self, key: str, value: V | None, begun: float, stale: bytes | None = None) -> str:
        """Store the answer that was read from the database at `begun`, in place of the `stale` one that was found.

        Returns:
            `stored`; `refused` if there is another entry now, such as a mark; `late` or `unavailable`.
        """
        age = self._clock() - begun
        seconds = self._missing_seconds if value is None else self._seconds + self._stale_seconds
        milliseconds = int((seconds - age) * 1000)
        if age > FILL_SECONDS or milliseconds <= 0:
            return "late"
        name, content = self._name(key), NONE if value is None else self._content(value, age)
        try:
            if stale is None:
                stored = await self._valkey.call(
                    "cache_fill", lambda client: client.set(name, content, px=milliseconds, nx=True)
                )
            else:
                command = ("EVAL", REPLACE, 1, name, stale, content, milliseconds)
                stored = await self._valkey.call("cache_fill", lambda client: client.execute_command(*command))  # type: ignore[no-untyped-call]
        except ValkeyUnavailableError:
            return "unavailable"
        return "stored" if stored else "refused"

    async def changed(self, key: str) -> bool:
        """Mark `key` as changed; returns whether Valkey was notified."""
        name = self._name(key)
        try:
            await self._valkey.call(
                "cache_change",
                lambda client: client.set(name, CHANGED, px=int(MARK_SECONDS * 1000)),
                even_if_away=True,
            )
        except ValkeyUnavailableError:
            return False
        return True

    def _content(self, value: V, age: float) -> bytes:
        asked = int((self._time_of_day() - age) * 1000)
        return b"%b%d %b" % (VALUE, asked, self._encode(value))

    def _answer(self, stored: bytes) -> Found[V]:
        """Decode an entry; raises ValueError if `_content` has not made it."""
        asked, separator, content = stored[1:].partition(b" ")
        if stored[:1] != VALUE or not separator:
            raise ValueError("not an answer")
        age = self._time_of_day() - int(asked) / 1000
        value = self._decode(content)
        if age < self._seconds:
            return Found("hit", value)
        return Found("stale", value, self._clock() + self._seconds + self._stale_seconds - age, stored)

    def _name(self, key: str) -> str:
        return f"{self._prefix}:{key}"
