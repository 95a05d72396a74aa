"""Deletes each night what nobody needs any more."""

from datetime import UTC, datetime, timedelta

import structlog

from app.links.csv_import import Imports
from app.links.deleted_slugs import DeletedSlugs
from keel.tasks.run import Run
from keel.tasks.task import Empty, Schedule, Task

CLEAN_UP = Task(name="clean-up-links", payload=Empty)
NIGHTLY = Schedule(task=CLEAN_UP, cron="0 2 * * *")
IMPORTS_KEPT = timedelta(days=30)

log = structlog.get_logger("app.links")


class CleanUp:
    """Does the task CLEAN_UP. It may be done twice."""

    def __init__(self, deleted: DeletedSlugs, imports: Imports) -> None:
        self._deleted = deleted
        self._imports = imports

    async def run(self, _: Empty, __: Run) -> None:
        """Delete the expired reservations of slugs, and old imports."""
        reservations = await self._deleted.purge()
        imports = await self._imports.purge(datetime.now(UTC) - IMPORTS_KEPT)
        log.info("cleaned up", reservations=reservations, imports=imports)
