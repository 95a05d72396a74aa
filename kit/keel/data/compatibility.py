"""Which versions of the code work with the schema, so that an older version can be deployed after a migration.

Each migration says in `works_from` the oldest revision whose code works after it. The result for all of them is stored
in the database, because older code does not have the newer migrations.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import Column, Connection, String, Table, delete, insert, inspect, select

from keel.data.database import METADATA

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

TABLE = Table("schema_compatibility", METADATA, Column("works_from", String(32), nullable=False))


class AheadError(Exception):
    """This version does not know the database's revision and does not work with it. The message says what to do."""


def record(connection: Connection, scripts: "ScriptDirectory", heads: Collection[str]) -> None:
    """Store which code works with the schema. Called after a migration, in its transaction."""
    if not inspect(connection).has_table(TABLE.name):
        return
    applied = [script for head in heads for script in scripts.iterate_revisions(head, "base")]
    order = [script.revision for script in reversed(applied)]
    floors = [floor for script in applied if (floor := getattr(script.module, "works_from", None))]
    connection.execute(delete(TABLE))
    connection.execute(insert(TABLE).values(works_from=max(floors, key=order.index, default=order[0])))


def ahead(connection: Connection, scripts: "ScriptDirectory", heads: Collection[str]) -> str | None:
    """The database's revision if it is newer than this version but this version works with it; None if it is not newer.

    Raises:
        AheadError: it is newer, and this version does not work with it.
    """
    known = {script.revision for script in scripts.walk_revisions()}
    stranger = next((head for head in heads if head not in known), None)
    if stranger is None:
        return None
    there = inspect(connection).has_table(TABLE.name)
    works_from = connection.scalar(select(TABLE.c.works_from)) if there else None
    if works_from in known:
        return stranger
    needed = f"code of revision {works_from} or later" if works_from else "the code that made it"
    raise AheadError(
        f"The database is at revision {stranger}, which this version does not know and which needs {needed}. "
        "Deploy a newer version."
    )
