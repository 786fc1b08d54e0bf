"""The table of secrets that tokens are signed with."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add it."""
    op.create_table(
        "signing_keys",
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("length(secret) = 64", name="ck_signing_keys_secret"),
        sa.PrimaryKeyConstraint("purpose", name="pk_signing_keys"),
    )


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("signing_keys")
