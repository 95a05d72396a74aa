"""The links put together: all that app.main has to know of them."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from app.data.cache import Cache
from app.data.cache_metrics import CacheMetrics
from app.data.database import Database
from app.data.shared_cache import SharedCache
from app.data.valkey import Valkey
from app.http.trusted_hosts import trusted_names
from app.links import collection, item, redirects, targets
from app.links.access import Links
from app.links.clicks import ClickCounter
from app.links.deleted_slugs import DeletedSlugs
from app.links.idempotency import IdempotencyKeys
from app.links.metrics import LinkMetrics
from app.links.store import LinkStore
from app.links.urls import UrlPolicy
from app.settings import Settings

API = "/api/v1"
PREFIX = "links:target:2"  # of keys in Valkey: another number when what is stored there is encoded otherwise


class Domain:
    def __init__(
        self, settings: Settings, database: Database, valkey: Valkey | None, registry: CollectorRegistry
    ) -> None:
        shared = None
        if valkey is not None:
            shared = SharedCache(
                valkey,
                PREFIX,
                targets.encode,
                targets.decode,
                settings.cache_shared_seconds,
                stale_seconds=settings.cache_stale_seconds,
            )
        cache = Cache(
            "targets",
            CacheMetrics(registry),
            shared,
            seconds=settings.cache_seconds,
            stale_seconds=settings.cache_stale_seconds,
            as_stale=targets.as_stale,
        )
        self.links = Links(
            LinkStore(database, cache, DeletedSlugs(database, settings.deleted_slug_days)),
            ClickCounter(database, registry, settings.click_flush_seconds),
            IdempotencyKeys(database, settings.idempotency_hours),
            UrlPolicy(trusted_names(settings)),
            LinkMetrics(registry),
            settings.public_url,
        )

    def install(self, app: FastAPI) -> None:
        """Add the routes. Last of all: a redirect's path fits every path of one segment."""
        app.state.links = self.links
        app.include_router(collection.router, prefix=API)
        app.include_router(item.router, prefix=API)
        redirects.install(app, redirects.Redirects(self.links.store, self.links.clicks, self.links.metrics))

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Do the work in the background while inside; at the end no click is left unwritten."""
        async with self.links.keys.purging(), self.links.store.deleted.purging(), self.links.clicks.counting():
            yield
