"""Slugs of deleted links.

The release before this one deletes links without reserving their slugs, and continues to while it is being replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
works_from = "0002"


def upgrade() -> None:
    op.create_table(
        "deleted_slugs",
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slug", name="pk_deleted_slugs"),
    )
    op.create_index("ix_deleted_slugs_deleted_at", "deleted_slugs", ["deleted_at"])


def downgrade() -> None:
    op.drop_table("deleted_slugs")
