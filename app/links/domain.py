"""Puts the parts of the domain together, and plugs them into the kit. app.main needs nothing but LINKS."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial

from fastapi import FastAPI

from app.links import checks, cleanup, collection, csv_import, imports, item, live, redirects, reports, targets
from app.links.checks import TargetChecks
from app.links.clicks import ClickCounter
from app.links.csv_import import Imports
from app.links.deleted_slugs import DeletedSlugs
from app.links.dependencies import READ, WRITE, Links
from app.links.metrics import LinkMetrics
from app.links.openapi import TAGS
from app.links.operations import OPERATIONS
from app.links.settings import LinkSettings
from app.links.store import LinkStore
from app.links.urls import UrlPolicy
from keel.domain import Domain, Feature, Parts
from keel.http.trusted_hosts import trusted_names

API = "/api/v1"
ENCODING = 2  # version of the cache entries in Valkey


class LinksFeature(Feature):
    """The links as they run in one process."""

    def __init__(self, parts: Parts, settings: LinkSettings) -> None:
        targets_by_slug = parts.cache("targets", ENCODING, targets.encode, targets.decode, targets.as_stale)
        deleted = DeletedSlugs(parts.database, settings.deleted_slug_days)
        metrics = LinkMetrics(parts.registry)
        asking = TargetChecks(parts.database, parts.tasks, metrics, public_only=not settings.check_private_targets)
        also = asking.put if settings.check_targets else None
        store = LinkStore(parts.database, targets_by_slug, deleted, also)
        feed = parts.feed("clicks", kept=live.KEPT)
        importing = Imports(parts.database, parts.tasks, store, metrics)
        self.links = Links(
            store,
            asking,
            importing,
            ClickCounter(parts.database, parts.registry, settings.click_flush_seconds, partial(live.tell, feed)),
            parts.keys,
            UrlPolicy(trusted_names(parts.settings)),
            metrics,
            feed,
            parts.settings.public_url,
        )
        self.tasks = {
            cleanup.CLEAN_UP: cleanup.CleanUp(deleted, importing).run,
            csv_import.IMPORT: importing.make,
            checks.CHECK: asking.check,
            checks.CHECK_ALL: asking.check_page,
        }
        self.schedules = [cleanup.NIGHTLY, *([checks.NIGHTLY] if settings.check_targets else [])]

    def install(self, app: FastAPI) -> None:
        app.state.links = self.links
        app.include_router(collection.router, prefix=API)
        app.include_router(item.router, prefix=API)
        app.include_router(live.router, prefix=API)
        app.include_router(reports.router, prefix=API)
        app.include_router(imports.router, prefix=API)
        # Keep after all other routes: a redirect matches every path of one segment.
        redirects.install(app, redirects.Redirects(self.links.store, self.links.clicks, self.links.metrics))

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the background work while inside; at the end write the clicks that remain."""
        async with self.links.live.running(), self.links.clicks.counting():
            yield


LINKS = Domain(
    name="links",
    start=LinksFeature,
    settings=LinkSettings,
    development_scopes=(READ, WRITE),
    tags=TAGS,
    problems={
        404: "There is no such link.",
        409: "The slug spring-sale is taken. Choose another one.",
        410: "This link has expired.",
        412: "The precondition does not hold. Fetch the link again and retry.",
    },
    operations=OPERATIONS,
)
