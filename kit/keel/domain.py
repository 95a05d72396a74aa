"""A domain is a plug: one object through which what a service is about reaches the kit.

The kit knows domains by this module alone, and imports none of them.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from keel.data.cache import Cache
from keel.data.cache_metrics import CacheMetrics
from keel.data.database import Database
from keel.data.shared_cache import SharedCache
from keel.data.valkey import Valkey
from keel.idempotency import IdempotencyKeys
from keel.settings import OwnSettings, Settings

Check = Callable[[], Awaitable[None]]
Value = TypeVar("Value")


class NoSettings(OwnSettings, env_prefix="\0"):
    """For a domain that has no settings of its own."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the kit gives to a domain when a service is built."""

    settings: Settings
    registry: CollectorRegistry
    """For metrics of its own."""
    stored: Database | None
    """Use `database`."""
    valkey: Valkey | None
    """None where no Valkey is configured: nothing is shared between processes then."""
    caches: CacheMetrics
    """Use `cache`."""

    @property
    def keys(self) -> IdempotencyKeys:
        """Answers kept by Idempotency-Key. The kit deletes what is past its time."""
        return IdempotencyKeys(self.database, self.settings.idempotency_hours)

    @property
    def database(self) -> Database:
        """The service's database.

        Raises:
            RuntimeError: it has none, as its Product names no migrations.
        """
        if self.stored is None:
            raise RuntimeError("this service has no database: give its Product the folder of its migrations")
        return self.stored

    def cache(
        self,
        name: str,
        version: int,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
        as_stale: Callable[[Value], Value] = lambda value: value,
    ) -> Cache[Value]:
        """A cache of two layers as the settings say; `name` is what metrics and keys in Valkey call it.

        Take another `version` when the encoding changes: two releases run side by side during a rollout. `as_stale`
        marks an answer that is given, past its time, because the database is unavailable.
        """
        chosen = self.settings
        shared = None
        if self.valkey is not None:
            prefix = f"{chosen.product.name}:{name}:{version}"
            seconds, stale = chosen.cache_shared_seconds, chosen.cache_stale_seconds
            shared = SharedCache(self.valkey, prefix, encode, decode, seconds, stale_seconds=stale)
        return Cache(
            name,
            self.caches,
            shared,
            seconds=chosen.cache_seconds,
            stale_seconds=chosen.cache_stale_seconds,
            as_stale=as_stale,
        )


class Feature:
    """A domain as it runs in one process. Override what yours has."""

    checks: Mapping[str, Check] = {}
    """Dependencies of its own, by name, that a pod waits for before it is ready. Each raises while it fails."""
    optional_checks: Mapping[str, Check] = {}
    """Likewise, but a pod is ready without them: what all pods share takes none of them out."""

    def install(self, app: FastAPI) -> None:
        """Add the routes. Those that fit any path come last: domains are installed in their order."""

    def working(self) -> AbstractAsyncContextManager[None]:
        """Do the work in the background while inside."""
        return contextlib.nullcontext()


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What a service has to be told of a domain before it is built."""

    name: str
    """A word for messages and logs, such as orders."""
    start: Callable[[Parts, Any], Feature]
    """Makes it ready to run, with its own settings as the second argument. It opens nothing yet."""
    settings: type[OwnSettings] = NoSettings
    """Settings of its own, with a prefix of their own."""
    development_scopes: Sequence[str] = ()
    """Scopes of the token that `python -m app token` makes, unless others are asked for."""
    tags: Sequence[Mapping[str, str]] = ()
    """OpenAPI's tags of its routes: name and description."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Details by status, as examples in the OpenAPI document, of the problems that its tagged routes answer with."""
