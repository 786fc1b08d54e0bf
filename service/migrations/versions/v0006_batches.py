"""Tables of batches and their items."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add them."""
    _create_batches()
    _create_items()


def downgrade() -> None:
    """Drop them again."""
    op.drop_table("batch_items")
    op.drop_table("batches")


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("source_ref", DOCUMENT, nullable=True),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("recipe", sa.String(length=64), nullable=True),
        sa.Column("options", DOCUMENT, nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=True),
        sa.Column("camera", sa.String(length=255), nullable=True),
        sa.Column("queue", sa.String(length=16), nullable=False),
        sa.Column("webhook", DOCUMENT, nullable=True),
        sa.Column("num_items", sa.Integer(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("delete_requested", sa.Boolean(), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "status IN ('preparing', 'processing', 'finished', 'failed', 'canceled')",
            name=op.f("ck_batches_status"),
        ),
        sa.CheckConstraint(
            "source IN ('items', 'folder', 'archive')", name=op.f("ck_batches_source")
        ),
        sa.CheckConstraint(
            "(source_ref IS NULL) = (source = 'items')", name=op.f("ck_batches_source_ref")
        ),
        sa.CheckConstraint("queue IN ('interactive', 'batch')", name=op.f("ck_batches_queue")),
        sa.CheckConstraint("num_items >= 0", name=op.f("ck_batches_num_items")),
        sa.CheckConstraint(
            "(completed_at IS NOT NULL) = (status IN ('finished', 'failed', 'canceled'))",
            name=op.f("ck_batches_completed"),
        ),
        sa.CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')"
            " AND (error_message IS NULL) = (error_code IS NULL)",
            name=op.f("ck_batches_error"),
        ),
        sa.CheckConstraint(
            "(idempotency_key IS NULL) = (request_digest IS NULL)",
            name=op.f("ck_batches_idempotency"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_batches_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.UniqueConstraint(
            "tenant_id", "idempotency_key", name="uq_batches_tenant_id_idempotency_key"
        ),
    )
    op.create_index("ix_batches_tenant_id", "batches", ["tenant_id"])
    op.create_index("ix_batches_created_at_id", "batches", ["created_at", "id"])
    op.create_index("ix_batches_status", "batches", ["status"])


def _create_items() -> None:
    op.create_table(
        "batch_items",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("video_id", sa.String(length=40), nullable=True),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("taken_until", MOMENT, nullable=True),
        sa.Column("taken_by", sa.String(length=40), nullable=True),
        sa.Column("tag", sa.String(length=255), nullable=True),
        sa.Column("camera", sa.String(length=255), nullable=True),
        sa.Column("recorded_at", MOMENT, nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "kind IN ('url', 'path', 'video', 'member')", name=op.f("ck_batch_items_kind")
        ),
        sa.CheckConstraint(
            "(source IS NULL) = (kind = 'video')", name=op.f("ck_batch_items_source")
        ),
        sa.CheckConstraint(
            "status IN ('waiting', 'taken', 'open', 'succeeded', 'failed', 'canceled')",
            name=op.f("ck_batch_items_status"),
        ),
        sa.CheckConstraint(
            "(taken_until IS NOT NULL) = (status = 'taken')"
            " AND (taken_by IS NOT NULL) = (status = 'taken')",
            name=op.f("ck_batch_items_taken"),
        ),
        sa.CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')", name=op.f("ck_batch_items_error")
        ),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))",
            name=op.f("ck_batch_items_ended"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name="fk_batch_items_batch_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["video_id"], ["videos.id"], name="fk_batch_items_video_id", ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_batch_items_job_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_batch_items"),
        sa.UniqueConstraint("batch_id", "position", name="uq_batch_items_batch_id_position"),
        sqlite_autoincrement=True,
    )
    for columns in (
        ["batch_id", "status", "id"],
        ["batch_id", "ended_at"],
        ["job_id"],
        ["video_id"],
    ):
        op.create_index(f"ix_batch_items_{'_'.join(columns)}", "batch_items", columns)
