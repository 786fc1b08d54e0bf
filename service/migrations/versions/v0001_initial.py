"""The first schema: videos, jobs, tasks, events, results, workers.

A migration is history: it names columns and constraints itself and imports no records.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make all tables."""
    _create_videos()
    _create_workers()
    _create_jobs()
    _create_events()
    _create_results()
    _create_tasks()


def downgrade() -> None:
    """Drop all tables."""
    for table in ("tasks", "results", "events", "jobs", "workers", "videos"):
        op.drop_table(table)


def _create_videos() -> None:
    op.create_table(
        "videos",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("blob_key", sa.String(length=255), nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name="ck_videos_sha256"),
        sa.CheckConstraint("size_bytes >= 0", name="ck_videos_size"),
        sa.PrimaryKeyConstraint("id", name="pk_videos"),
        sa.UniqueConstraint("blob_key", name="uq_videos_blob_key"),
    )
    op.create_index("ix_videos_sha256", "videos", ["sha256"], unique=False)


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_workers"),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("video_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("eta_seconds", sa.Float(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("delete_requested", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("options", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=True),
        sa.Column("num_chunks", sa.Integer(), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("completed_at", MOMENT, nullable=True),
        sa.CheckConstraint(
            "(completed_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))",
            name="ck_jobs_completed",
        ),
        sa.CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')"
            " AND (error_message IS NULL) = (error_code IS NULL)",
            name="ck_jobs_error",
        ),
        sa.CheckConstraint(
            "status <> 'processing' OR started_at IS NOT NULL", name="ck_jobs_started"
        ),
        sa.CheckConstraint(
            "status <> 'succeeded' OR NOT cancel_requested", name="ck_jobs_no_success_after_cancel"
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'processing', 'succeeded', 'failed', 'canceled')",
            name="ck_jobs_status",
        ),
        sa.CheckConstraint(
            "(idempotency_key IS NULL) = (request_digest IS NULL)", name="ck_jobs_idempotency"
        ),
        sa.CheckConstraint("num_chunks IS NULL OR num_chunks >= 1", name="ck_jobs_num_chunks"),
        sa.CheckConstraint("progress >= 0 AND progress <= 1", name="ck_jobs_progress"),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name="fk_jobs_video_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    op.create_index("ix_jobs_created_at_id", "jobs", ["created_at", "id"], unique=False)
    op.create_index("ix_jobs_status_completed_at", "jobs", ["status", "completed_at"], unique=False)
    op.create_index("ix_jobs_video_id", "jobs", ["video_id"], unique=False)


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_events_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_job_id_id", "events", ["job_id", "id"], unique=False)


def _create_results() -> None:
    op.create_table(
        "results",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("activations_key", sa.String(length=255), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_results_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name="pk_results"),
    )


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("chunk_index", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("run_after", MOMENT, nullable=False),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("computed", sa.Boolean(), nullable=True),
        sa.Column("hinted_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "(lease_until IS NOT NULL) = (status = 'leased')"
            " AND (owner IS NOT NULL) = (status = 'leased')",
            name="ck_tasks_lease",
        ),
        sa.CheckConstraint(
            "chunk_index >= 0 AND (kind = 'chunk' OR chunk_index = 0)", name="ck_tasks_chunk_index"
        ),
        sa.CheckConstraint("kind IN ('plan', 'chunk', 'join')", name="ck_tasks_kind"),
        sa.CheckConstraint(
            "status IN ('ready', 'leased', 'done', 'failed', 'canceled')", name="ck_tasks_status"
        ),
        sa.CheckConstraint("fraction >= 0 AND fraction <= 1", name="ck_tasks_fraction"),
        sa.CheckConstraint(
            "token >= 0 AND attempts >= 0 AND attempts <= token", name="ck_tasks_counts"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_tasks_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
    )
    op.create_index("ix_tasks_job_id", "tasks", ["job_id"], unique=False)
    op.create_index(
        "ix_tasks_open",
        "tasks",
        ["status", "run_after"],
        unique=False,
        sqlite_where=sa.text("status IN ('ready', 'leased')"),
        postgresql_where=sa.text("status IN ('ready', 'leased')"),
    )
    op.create_index(
        "uq_tasks_chunk",
        "tasks",
        ["job_id", "chunk_index"],
        unique=True,
        sqlite_where=sa.text("kind = 'chunk'"),
        postgresql_where=sa.text("kind = 'chunk'"),
    )
    op.create_index(
        "uq_tasks_join",
        "tasks",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'join'"),
        postgresql_where=sa.text("kind = 'join'"),
    )
    op.create_index(
        "uq_tasks_plan",
        "tasks",
        ["job_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'plan'"),
        postgresql_where=sa.text("kind = 'plan'"),
    )
