"""Deletes expired rows in small batches."""

from datetime import datetime

from sqlalchemy import Column, Table, delete, select, tuple_

from keel.data.database import Database

EVERY_SECONDS = 300
BATCH = 1000  # rows in one statement, so that none holds locks for long


async def purge(database: Database, table: Table, age: Column[datetime], before: datetime) -> int:
    """Delete the rows of `table` whose column `age` is before a time; returns how many."""
    # Rows that are locked are being deleted by another process.
    old = select(*table.primary_key).where(age < before).limit(BATCH).with_for_update(skip_locked=True)
    statement = delete(table).where(tuple_(*table.primary_key).in_(old)).returning(age)
    purged = 0
    while True:
        async with database.transaction() as connection:
            count = len((await connection.scalars(statement)).all())
            await connection.commit()
        purged += count
        if count < BATCH:
            return purged
