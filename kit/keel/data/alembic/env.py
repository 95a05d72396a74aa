"""Alembic runs this file for each command; keel.data.migrate passes it the connection and the tables."""

from typing import Any

from alembic import context

from keel.data import compatibility
from keel.data.timestamp import Timestamp

attributes = context.config.attributes


def rendered(kind: str, item: Any, _context: Any) -> Any:
    """Write the kit's own type as SQLAlchemy's in a new migration, so that it need not import the kit."""
    if kind == "type" and isinstance(item, Timestamp):
        return "sa.DateTime(timezone=True)"
    return False


def applied(*, ctx: Any, heads: Any, **_more: Any) -> None:
    """Record after each migration which code works with the schema."""
    compatibility.record(ctx.connection, context.script, heads)


context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_item=rendered,
    render_as_batch=True,  # SQLite alters a table by replacing it
    transaction_per_migration=True,
    on_version_apply=applied,  # type: ignore[arg-type]  # Alembic names all its arguments
)
with context.begin_transaction():
    context.run_migrations()
