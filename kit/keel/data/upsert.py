"""INSERT … ON CONFLICT: both databases have it, SQLAlchemy's common INSERT does not."""

from typing import TYPE_CHECKING

from sqlalchemy import Table

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite


def insert(dialect: str, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """The INSERT of `dialect`. The other dialect is not imported, to save memory."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
