"""The tables of the queue. A service that imports them needs a migration that makes them: `migrate --new`."""

from sqlalchemy import Column, Double, Integer, String, Table, Text, UniqueConstraint

from keel.data.database import METADATA
from keel.tasks.task import MAX_NAME_CHARACTERS

MAX_KEY_CHARACTERS = 255
MAX_ERROR_CHARACTERS = 1000

# Times are seconds since 1970 by the database's clock: the clocks of the nodes may differ.
TASKS = Table(
    "tasks",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(MAX_NAME_CHARACTERS), nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    Column(
        "key", String(MAX_KEY_CHARACTERS)
    ),  # a task is not put while another one of its name and key is waiting or running
    Column("traceparent", String(55)),  # of the request that has put it (W3C Trace Context)
    Column("put_at", Double, nullable=False),
    # When it may be taken. While it is running: the end of the lease. None: it has failed for good.
    Column("due", Double, index=True),
    Column("attempts", Integer, nullable=False),
    Column("lease", String(32)),  # whoever has this secret is running the task
    Column("error", String(MAX_ERROR_CHARACTERS)),  # of the last attempt
    UniqueConstraint("name", "key"),
)

# The time up to which each schedule has put its tasks.
SCHEDULES = Table(
    "task_schedules",
    METADATA,
    Column("name", String(MAX_NAME_CHARACTERS), primary_key=True),
    Column("done_until", Double, nullable=False),
)
