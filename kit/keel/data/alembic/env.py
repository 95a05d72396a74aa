"""Run by Alembic for each command; keel.data.migrate passes the connection and the tables."""

from typing import Any

from alembic import context

from keel.data import compatibility
from keel.data.timestamp import Timestamp

attributes = context.config.attributes


def rendered(kind: str, item: Any, _context: Any) -> Any:
    """How a type is written in a new migration: our own as what it is in the database, so that nothing is imported."""
    if kind == "type" and isinstance(item, Timestamp):
        return "sa.DateTime(timezone=True)"
    return False


def applied(*, ctx: Any, heads: Any, **_more: Any) -> None:
    compatibility.record(ctx.connection, context.script, heads)


context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_item=rendered,
    render_as_batch=True,  # SQLite alters a table by making another
    transaction_per_migration=True,
    on_version_apply=applied,  # type: ignore[arg-type]  # Alembic names all its arguments
)
with context.begin_transaction():
    context.run_migrations()
