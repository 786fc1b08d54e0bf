"""The table of how far each bridge has come."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    op.create_table(
        "bridges",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("memory", sa.JSON(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(owner IS NULL) = (lease_until IS NULL)", name=op.f("ck_bridges_lease")
        ),
        sa.CheckConstraint("position >= 0", name=op.f("ck_bridges_position")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_bridges")),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("bridges")
