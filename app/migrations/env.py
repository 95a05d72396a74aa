"""Run by Alembic for each command; app.data.migrate passes the connection and the tables."""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["metadata"],
    render_as_batch=True,  # SQLite alters a table by making another
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
