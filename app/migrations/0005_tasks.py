"""The queue of tasks, what the targets of links have answered, and imports."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
works_from = "0002"


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
        "target_checks",
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("error", sa.String(200)),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["slug"], ["links.slug"], name="fk_target_checks_slug_links", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("slug", name="pk_target_checks"),
    )
    op.create_table(
        "target_reports",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("checked", sa.Integer(), nullable=False),
        sa.Column("broken", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", name="pk_target_reports"),
    )
    op.create_table(
        "imports",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_index("ix_imports_created_at", "imports", ["created_at"])
    op.create_table(
        "import_refusals",
        sa.Column("of", sa.String(32), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("detail", sa.String(200), nullable=False),
        sa.ForeignKeyConstraint(["of"], ["imports.id"], name="fk_import_refusals_of_imports", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("of", "line", name="pk_import_refusals"),
    )


def downgrade() -> None:
    for table in ("import_refusals", "imports", "target_reports", "target_checks", "task_schedules", "tasks"):
        op.drop_table(table)
