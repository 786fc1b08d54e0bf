"""Tables of uploads under way."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("video_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("camera", sa.String(length=255), nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=True),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("length_bytes", sa.BigInteger(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("lock_token", sa.String(length=40), nullable=True),
        sa.Column("lock_until", MOMENT, nullable=True),
        sa.Column("lock_wanted", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "offset_bytes >= 0 AND offset_bytes <= length_bytes", name=op.f("ck_uploads_offset")
        ),
        sa.CheckConstraint("length_bytes >= 1", name=op.f("ck_uploads_length")),
        sa.CheckConstraint(
            "(lock_token IS NULL) = (lock_until IS NULL)", name=op.f("ck_uploads_lock")
        ),
        sa.CheckConstraint(
            "completed_at IS NULL OR offset_bytes = length_bytes", name=op.f("ck_uploads_completed")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_uploads_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.UniqueConstraint("video_id", name="uq_uploads_video_id"),
    )
    op.create_index("ix_uploads_tenant_id", "uploads", ["tenant_id"], unique=False)
    op.create_index("ix_uploads_expires_at", "uploads", ["expires_at"], unique=False)


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("uploads")
