"""The plug: a Domain is the one object that connects what a service does to the kit.

The kit imports no domain; it knows only the classes of this module.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from keel.data.cache import Cache
from keel.data.cache_metrics import CacheMetrics
from keel.data.database import Database
from keel.data.feed import Feed, FeedMetrics
from keel.data.shared_cache import SharedCache
from keel.data.valkey import Valkey
from keel.idempotency import IdempotencyKeys
from keel.operations import Operations
from keel.settings import OwnSettings, Settings

if TYPE_CHECKING:  # a service without tasks does not import them, and has no tables for them
    from keel.tasks.run import Handler
    from keel.tasks.store import TaskStore
    from keel.tasks.task import Schedule, Task

Check = Callable[[], Awaitable[None]]
Value = TypeVar("Value")


class NoSettings(OwnSettings, env_prefix="\0"):
    """The settings of a domain that has none."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the kit gives a domain when the service is built."""

    settings: Settings
    registry: CollectorRegistry
    """Register the domain's metrics here."""
    stored: Database | None
    """The database, if there is one: use `database`."""
    valkey: Valkey | None
    """None if no Valkey is configured. Processes share nothing then."""
    caches: CacheMetrics
    """Metrics of the caches: use `cache`."""
    feeds: FeedMetrics
    """Metrics of the feeds: use `feed`."""

    @property
    def keys(self) -> IdempotencyKeys:
        """Stored responses by Idempotency-Key. The kit deletes the expired ones."""
        return IdempotencyKeys(self.database, self.settings.idempotency_hours)

    @property
    def database(self) -> Database:
        """The service's database.

        Raises:
            RuntimeError: the service has none, because its Product names no migrations.
        """
        if self.stored is None:
            raise RuntimeError("this service has no database: give its Product the folder of its migrations")
        return self.stored

    @property
    def tasks(self) -> "TaskStore":
        """The queue, to put tasks in. What runs them is in `Feature.tasks`."""
        from keel.tasks.store import TaskStore  # noqa: PLC0415

        return TaskStore(self.database)

    def cache(
        self,
        name: str,
        version: int,
        encode: Callable[[Value], bytes],
        decode: Callable[[bytes], Value],
        as_stale: Callable[[Value], Value] = lambda value: value,
    ) -> Cache[Value]:
        """A cache of two layers, as the settings say. `name` is in its metrics and its keys in Valkey.

        Choose another `version` when the encoding changes, because two releases run side by side during a rollout.
        `as_stale` marks an answer that is stale and used because the database is unavailable.
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

    def feed(self, name: str, *, kept: int = 1000, waiting: int = 100) -> Feed:
        """A feed that all processes of the service share, if Valkey is configured. `name` is in its metrics and key.

        `kept` is about how many events are kept for clients that come back. A subscriber with more than `waiting`
        events to take is dropped.
        """
        key = f"{self.settings.product.name}:feed:{name}"
        return Feed(key, self.valkey, self.feeds, name=name, kept=kept, waiting=waiting)


class Feature:
    """A domain as it runs in one process. Override what yours needs."""

    checks: Mapping[str, Check] = {}
    """Checks of dependencies that must have passed once before a pod is ready, by name. A check fails by raising."""
    optional_checks: Mapping[str, Check] = {}
    """Checks of dependencies that a pod can do without: they are reported, but a pod is ready all the same."""

    tasks: "Mapping[Task[Any], Handler]" = MappingProxyType({})
    """Background work that outlives its process, and what does it (keel.tasks)."""
    schedules: "Sequence[Schedule]" = ()
    """Times at which tasks are put."""

    def install(self, app: FastAPI) -> None:
        """Add the routes. Domains are installed in order, so put one whose routes match any path last."""

    def working(self) -> AbstractAsyncContextManager[None]:
        """Run the background work while inside."""
        return contextlib.nullcontext()


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the kit must know of a domain before it builds the service."""

    name: str
    """A word for messages and logs, such as orders."""
    start: Callable[[Parts, Any], Feature]
    """Makes the Feature. The second argument is the domain's settings. It must not open connections yet."""
    settings: type[OwnSettings] = NoSettings
    """The class of the domain's settings, which have a prefix of their own."""
    development_scopes: Sequence[str] = ()
    """Default scopes of the token that `python -m app token` makes."""
    tags: Sequence[Mapping[str, str]] = ()
    """OpenAPI tags of the domain's routes: name and description."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """Examples for the OpenAPI document, by status: the details of problems that the domain's routes respond with."""
    operations: Operations = field(default_factory=Operations)
    """Dashboards, a load, and requests that show that a release works."""
