"""INSERT … ON CONFLICT, which SQLAlchemy's common INSERT does not have."""

from sqlalchemy import Table

from keel.dialects import Dialect, Insert


def insert(dialect: Dialect, table: Table) -> Insert:
    """The INSERT of a database's dialect."""
    return dialect.insert(table)
