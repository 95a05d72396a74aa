"""Expiry, versions, clicks and idempotency keys.

The release before this one writes links with four columns, and continues to while it is being replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

LIST_INDEX = "ix_links_owner_created_at_slug"


def upgrade() -> None:
    # First, and outside the transaction, so that PostgreSQL builds it without locking out writers. A failed attempt
    # leaves an invalid index behind, so drop that.
    with op.get_context().autocommit_block():
        op.drop_index(LIST_INDEX, table_name="links", if_exists=True, postgresql_concurrently=True)
        op.create_index(LIST_INDEX, "links", ["owner", "created_at", "slug"], postgresql_concurrently=True)

    op.create_table(
        "idempotency_keys",
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])

    # Statements that lock links come last, so that the lock is held for the shortest time. Constant defaults and null
    # do not rewrite the table.
    _set_lock_timeout()
    op.add_column("links", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("links", sa.Column("updated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("links", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    op.create_table(
        "link_clicks",
        sa.Column("slug", sa.String(64), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slug", name="pk_link_clicks"),
        sa.ForeignKeyConstraint(["slug"], ["links.slug"], name="fk_link_clicks_slug_links", ondelete="CASCADE"),
    )


def downgrade() -> None:
    _set_lock_timeout()
    op.drop_table("link_clicks")
    op.drop_table("idempotency_keys")
    for column in ("version", "updated_at", "expires_at"):
        op.drop_column("links", column)
    op.drop_index(LIST_INDEX, table_name="links")


def _set_lock_timeout() -> None:
    """Fail after five seconds, and be tried again, rather than make all requests wait behind a long transaction."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")
