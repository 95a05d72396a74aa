"""What a redirect needs to know of a link, small enough to keep a lot of them in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    expires_at: float | None = None  # seconds since the epoch
    stale: bool = False  # older than a cache may be, and given because the database is unavailable

    def expired(self, now: float) -> bool:
        """At the time of the answer, since a target may be kept past its end."""
        return self.expires_at is not None and self.expires_at <= now


class Targets(Protocol):
    """A cache of targets by slug."""

    async def get(self, key: str, load: Callable[[str], Awaitable[Target | None]], /) -> Target | None:
        """The target kept for `key`, or else what `load` answers."""

    async def changed(self, key: str, /) -> None:
        """Forget what is kept for `key`; to be called after a change is committed."""


def as_stale(target: Target) -> Target:
    """The target, marked as stale."""
    return replace(target, stale=True)


def encode(target: Target) -> bytes:
    """For a cache outside the process."""
    expires = "" if target.expires_at is None else repr(target.expires_at)
    return f"{expires} {target.url}".encode()


def decode(data: bytes) -> Target:
    """What `encode` was given.

    Raises:
        ValueError: it has not made this.
    """
    expires, separator, url = data.decode().partition(" ")
    if not separator:
        raise ValueError("not an encoded target")
    return Target(url, float(expires) if expires else None)
