"""The table that says which versions of the code work with the schema (keel.data.compatibility)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
# The oldest revision whose code works with the database after this change.
works_from = "0002"


def upgrade() -> None:
    op.create_table("schema_compatibility", sa.Column("works_from", sa.String(32), nullable=False))


def downgrade() -> None:
    op.drop_table("schema_compatibility")
