"""Run by Alembic for each command; app.data.migrate passes the connection and the tables."""

from typing import Any

from alembic import context

from app.data import compatibility

attributes = context.config.attributes


def applied(*, ctx: Any, heads: Any, **_more: Any) -> None:
    compatibility.record(ctx.connection, context.script, heads)


context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_as_batch=True,  # SQLite alters a table by making another
    transaction_per_migration=True,
    on_version_apply=applied,  # type: ignore[arg-type]  # Alembic names all its arguments
)
with context.begin_transaction():
    context.run_migrations()
