"""Whether this version works with the database's schema. It does not import Alembic, which no server needs."""

from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from keel.data.async_engine import AsyncConnection
from keel.dialects import Dialect
from keel.observability.probes import NotFitError
from keel.product import Product


class Schema:
    """Checks the schema, and shows its revision as a metric."""

    def __init__(self, product: Product, dialect: Dialect, registry: CollectorRegistry) -> None:
        self._dialect = dialect
        self._migrate = f"python -m {product.package} migrate"
        self._known = known_revisions(product.migrations) if product.migrations else []
        self._found: list[str] = []
        self._revision = Gauge(
            "schema_revision", "1 for the revision that the database is at.", ["revision"], registry=registry
        )

    async def check(self, connection: AsyncConnection) -> None:
        """Check that this version works with the schema. If the user may not read Alembic's table, assume that it does.

        Raises:
            NotFitError: this version does not work with the schema.
            DBAPIError: the database did not answer.
        """
        found = await self._read(connection, "SELECT version_num FROM alembic_version")
        if found is None:
            return
        if found != self._found:
            self._found = found
            self._revision.clear()
            for revision in found:
                self._revision.labels(revision).set(1)
        newer = set(found).difference(self._known)
        works_from = await self._read(connection, "SELECT works_from FROM schema_compatibility") if newer else None
        judge(found, works_from[0] if works_from else None, self._known, self._migrate)

    async def _read(self, connection: AsyncConnection, statement: str) -> list[str] | None:
        """The values of a column, sorted; an empty list if there is no such table, None if the user may not read it."""
        try:
            return sorted((await connection.scalars(text(statement))).all())
        except DBAPIError as error:
            refused = self._dialect.code(error) == self._dialect.no_right
            if not refused and not self._dialect.lacks_table(error):
                raise
            await connection.rollback()
            return None if refused else []


def known_revisions(migrations: Path) -> list[str]:
    """The revisions that this version knows, in order. The name of a migration's file begins with its revision."""
    return sorted(file.name.partition("_")[0] for file in migrations.glob("*_*.py"))


def judge(found: Sequence[str], works_from: str | None, known: Sequence[str], migrate: str) -> None:
    """Check the revisions `found` in the database. The code of `works_from` and later works with its schema.

    `migrate` is the command that brings it to the newest revision.

    Raises:
        NotFitError: the message says what to do.
    """
    needed = known[-1]
    if not found:
        raise NotFitError(f"it has no schema, and this version needs revision {needed}: run {migrate}")
    if len(found) > 1:
        raise NotFitError(f"it is at several revisions ({', '.join(found)}): restore it from a backup")
    (revision,) = found
    if revision in known and revision != needed:
        raise NotFitError(f"it is at revision {revision}, and this version needs {needed}: run {migrate}")
    if revision not in known and works_from not in known:
        raise NotFitError(f"it is at revision {revision}, which this version does not work with: deploy a newer one")
