"""The tables of segments and of saved searches; webhooks with the filter of a search."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

COVERED = ("moment_ms", "score", "duration_ms", "label_key", "camera_key", "tag_key")
COVERING_INDEXES = {
    "ix_segments_time": ["moment_ms"],
    "ix_segments_label_time": ["label_key", "moment_ms"],
    "ix_segments_camera_time": ["camera_key", "moment_ms"],
    "ix_segments_camera_label_time": ["camera_key", "label_key", "moment_ms"],
    "ix_segments_tag_time": ["tag_key", "moment_ms"],
    "ix_segments_score": ["score"],
    "ix_segments_label_score": ["label_key", "score"],
    "ix_segments_duration": ["duration_ms"],
}


def upgrade() -> None:
    """Add them; results of earlier releases wait to be indexed."""
    _create_segments()
    _create_counts()
    _create_searches()
    op.add_column(
        "results",
        sa.Column("searchable", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index(
        "ix_results_unsearchable",
        "results",
        ["job_id"],
        sqlite_where=sa.text("searchable = 0"),
        postgresql_where=sa.text("searchable = false"),
    )
    _extend_webhooks()


def downgrade() -> None:
    """There is no way back: a backup of the older version is one.

    Raises:
        NotImplementedError: always.
    """
    message = "Restore the copy that was made before the upgrade."
    raise NotImplementedError(message)


def _create_segments() -> None:
    op.create_table(
        "segments",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("label_key", sa.Integer(), nullable=False),
        sa.Column("camera_key", sa.Integer(), nullable=True),
        sa.Column("tag_key", sa.Integer(), nullable=True),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("raw_score", sa.Float(), nullable=False),
        sa.Column("start_ms", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("moment_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("score >= 0 AND score <= 1000000", name=op.f("ck_segments_score")),
        sa.CheckConstraint(
            "start_ms >= 0 AND duration_ms >= 0 AND position >= 0", name=op.f("ck_segments_times")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_segments_tenant_id"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_segments_job_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_segments"),
    )
    op.create_index("ix_segments_job_time", "segments", ["job_id", "tenant_id", "moment_ms", "id"])
    for name, leading in COVERING_INDEXES.items():
        columns = ["tenant_id", *leading, "id"]
        op.create_index(name, "segments", columns + [one for one in COVERED if one not in columns])


def _create_counts() -> None:
    op.create_table(
        "segment_counts",
        sa.Column("id", BIG_ID, autoincrement=True, nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('label', 'camera', 'tag')", name=op.f("ck_segment_counts_kind")
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_segment_counts_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_segment_counts"),
    )
    op.create_index("ix_segment_counts_tenant_id_kind", "segment_counts", ["tenant_id", "kind"])


def _create_searches() -> None:
    op.create_table(
        "searches",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("filter", DOCUMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_searches_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_searches_tenant_id_name"),
    )
    op.create_index("ix_searches_tenant_id", "searches", ["tenant_id"])


def _extend_webhooks() -> None:
    with op.batch_alter_table("webhooks") as table:
        table.add_column(sa.Column("max_score", sa.Float(), nullable=True))
        table.add_column(sa.Column("cameras", DOCUMENT, nullable=True))
        table.add_column(sa.Column("tags", DOCUMENT, nullable=True))
        table.add_column(sa.Column("min_duration", sa.Float(), nullable=True))
        table.add_column(sa.Column("max_duration", sa.Float(), nullable=True))
        table.add_column(sa.Column("search_id", sa.String(length=40), nullable=True))
        table.create_check_constraint(
            op.f("ck_webhooks_max_score"), "max_score >= 0 AND max_score <= 1"
        )
        table.create_check_constraint(
            op.f("ck_webhooks_durations"), "min_duration >= 0 AND max_duration >= 0"
        )
        table.create_foreign_key(
            op.f("fk_webhooks_search_id"), "searches", ["search_id"], ["id"], ondelete="CASCADE"
        )
        table.create_index("ix_webhooks_search_id", ["search_id"])
