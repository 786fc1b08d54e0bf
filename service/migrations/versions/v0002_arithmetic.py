"""The arithmetic that a job's chunks share, and which workers cannot do it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add what a job's arithmetic needs; jobs under way take it from their next chunk."""
    op.add_column("jobs", sa.Column("computed_with", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("jobs", sa.Column("able_at", MOMENT, nullable=True))
    op.create_table(
        "declines",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_declines_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("owner", "job_id", name="pk_declines"),
    )
    op.create_index("ix_declines_job_id", "declines", ["job_id"], unique=False)


def downgrade() -> None:
    """Drop it again."""
    op.drop_table("declines")
    op.drop_column("jobs", "able_at")
    op.drop_column("jobs", "computed_with")
