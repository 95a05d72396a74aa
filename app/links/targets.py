"""Targets: what a redirect needs to know of a link, small enough to cache many of them in memory."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """Where a link leads, and until when."""

    url: str
    expires_at: float | None = None  # seconds since the epoch
    stale: bool = False  # older than the cache allows, and used because the database is unavailable

    def expired(self, now: float) -> bool:
        """Whether the link has expired. Ask when answering: a cache may keep a target after its expiry."""
        return self.expires_at is not None and self.expires_at <= now


class Targets(Protocol):
    """A cache of targets by slug."""

    async def get(self, key: str, load: Callable[[str], Awaitable[Target | None]], /) -> Target | None:
        """The cached target of `key`, or else the one that `load` returns."""

    async def changed(self, key: str, /) -> None:
        """Forget the cached target of `key`. Call this after a change was committed."""


def as_stale(target: Target) -> Target:
    """The target, marked as stale."""
    return replace(target, stale=True)


def encode(target: Target) -> bytes:
    """The target as bytes, for a cache outside the process."""
    expires = "" if target.expires_at is None else repr(target.expires_at)
    return f"{expires} {target.url}".encode()


def decode(data: bytes) -> Target:
    """The target that `encode` was given.

    Raises:
        ValueError: `encode` has not made these bytes.
    """
    expires, separator, url = data.decode().partition(" ")
    if not separator:
        raise ValueError("not an encoded target")
    return Target(url, float(expires) if expires else None)
