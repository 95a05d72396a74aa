"""The queue of tasks, and what its tasks leave behind."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
works_from = "0001"


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("key", sa.String(255)),
        sa.Column("traceparent", sa.String(55)),
        sa.Column("put_at", sa.Double(), nullable=False),
        sa.Column("due", sa.Double()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(32)),
        sa.Column("error", sa.String(1000)),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("name", "key", name="uq_tasks_name_key"),
    )
    op.create_index("ix_tasks_due", "tasks", ["due"])
    op.create_table(
        "task_schedules",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("done_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_task_schedules"),
    )
    op.create_table(
        "marks",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("made_by", sa.String(32), nullable=False),
    )


def downgrade() -> None:
    for table in ("marks", "task_schedules", "tasks"):
        op.drop_table(table)
