"""Tenants, contents stored once, videos by URL and path, probe jobs, queues, an outbox."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON(none_as_null=True)

# The naming convention was applied to names that had it already when the first schema was made.
OLD_TASK_KINDS = "ck_tasks_ck_tasks_kind"
NEW_CHECKS = {
    "videos": {
        "ck_videos_source": "source IN ('upload', 'url', 'path')",
        "ck_videos_source_ref": "(source_ref IS NULL) = (source = 'upload')",
        "ck_videos_path": "source <> 'path' OR blob_key IS NULL",
        "ck_videos_blob": "blob_key IS NULL OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL)",
        "ck_videos_status": "status IN ('pending', 'ready', 'failed')",
        "ck_videos_error": "(error_code IS NOT NULL) = (status = 'failed')",
    },
    "jobs": {
        "ck_jobs_kind": "kind IN ('localize', 'probe')",
        "ck_jobs_queue": "queue IN ('interactive', 'batch')",
    },
    "tasks": {"ck_tasks_kind": "kind IN ('fetch', 'probe', 'plan', 'chunk', 'join')"},
    "events": {"ck_events_subject": "(job_id IS NULL) <> (batch_id IS NULL)"},
}


def upgrade() -> None:
    """Everything there is comes to belong to the tenant ``default``."""
    _create_tenants()
    _create_contents()
    _change_videos()
    _change_jobs()
    _change_tasks()
    _change_events()


def downgrade() -> None:
    """There is no way back: a backup of the older version is one.

    Raises:
        NotImplementedError: always.
    """
    message = "Restore the copy that was made before the upgrade."
    raise NotImplementedError(message)


def _create_tenants() -> None:
    tenants = op.create_table(
        "tenants",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("quotas", DOCUMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("name", name="uq_tenants_name"),
    )
    op.execute(
        tenants.insert().values(
            id="default", name="default", created_at=sa.func.current_timestamp()
        )
    )


def _create_contents() -> None:
    op.create_table(
        "contents",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("blob_key", sa.String(length=255), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("length(sha256) = 64", name=op.f("ck_contents_sha256")),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_contents_size")),
        sa.PrimaryKeyConstraint("sha256", name="pk_contents"),
        sa.UniqueConstraint("blob_key", name="uq_contents_blob_key"),
    )
    # Of several uploads of the same bytes one is kept; the others' blobs become orphans, which
    # the sweeper removes.
    op.execute(
        sa.text(
            "INSERT INTO contents (sha256, blob_key, size_bytes, created_at)"
            " SELECT sha256, MIN(blob_key), MIN(size_bytes), MIN(created_at)"
            " FROM videos GROUP BY sha256"
        )
    )


def _change_videos() -> None:
    with _changed("videos") as batch:
        batch.drop_constraint("uq_videos_blob_key", type_="unique")
        for name, kind in (
            ("sha256", sa.String(length=64)),
            ("size_bytes", sa.BigInteger()),
            ("blob_key", sa.String(length=255)),
        ):
            batch.alter_column(name, existing_type=kind, nullable=True)
        _own(batch, "videos")
        batch.add_column(_filled("source", sa.String(length=8), "upload"))
        batch.add_column(sa.Column("source_ref", sa.Text(), nullable=True))
        batch.add_column(_filled("status", sa.String(length=8), "pending"))
        batch.add_column(sa.Column("error_code", sa.String(length=64), nullable=True))
        batch.add_column(sa.Column("error_message", sa.Text(), nullable=True))
        batch.add_column(sa.Column("thumbnails_key", sa.String(length=255), nullable=True))
        batch.add_column(_filled("kept", sa.Boolean(), sa.false()))
        batch.add_column(sa.Column("camera", sa.String(length=255), nullable=True))
        batch.add_column(sa.Column("recorded_at", MOMENT, nullable=True))
        batch.create_index("ix_videos_blob_key", ["blob_key"])
        batch.create_index("ix_videos_created_at_id", ["created_at", "id"])
        batch.create_index("ix_videos_tenant_id", ["tenant_id"])
    op.execute(sa.text("UPDATE videos SET status = 'ready' WHERE facts IS NOT NULL"))
    op.execute(
        sa.text(
            "UPDATE videos SET blob_key ="
            " (SELECT blob_key FROM contents WHERE contents.sha256 = videos.sha256)"
        )
    )


def _change_jobs() -> None:
    with _changed("jobs") as batch:
        batch.drop_constraint("uq_jobs_idempotency_key", type_="unique")
        _own(batch, "jobs")
        batch.add_column(_filled("kind", sa.String(length=8), "localize"))
        batch.add_column(_filled("queue", sa.String(length=16), "interactive"))
        batch.add_column(sa.Column("camera", sa.String(length=255), nullable=True))
        batch.add_column(sa.Column("recorded_at", MOMENT, nullable=True))
        batch.add_column(sa.Column("webhook", DOCUMENT, nullable=True))
        batch.add_column(sa.Column("retry_of", sa.String(length=40), nullable=True))
        batch.add_column(sa.Column("recipe", sa.String(length=64), nullable=True))
        batch.create_unique_constraint(
            "uq_jobs_tenant_id_idempotency_key", ["tenant_id", "idempotency_key"]
        )
        batch.create_index("ix_jobs_tenant_id", ["tenant_id"])


def _change_tasks() -> None:
    with _changed("tasks") as batch:
        batch.drop_constraint(op.f(OLD_TASK_KINDS), type_="check")
    for kind in ("fetch", "probe"):
        op.create_index(
            f"uq_tasks_{kind}",
            "tasks",
            ["job_id"],
            unique=True,
            sqlite_where=sa.text(f"kind = '{kind}'"),
            postgresql_where=sa.text(f"kind = '{kind}'"),
        )


def _change_events() -> None:
    with _changed("events", sqlite_autoincrement=True) as batch:
        _own(batch, "events")
        batch.alter_column("job_id", existing_type=sa.String(length=40), nullable=True)
        batch.add_column(sa.Column("batch_id", sa.String(length=40), nullable=True))
        # Nobody is told about what happened before there were webhooks.
        batch.add_column(_filled("relayed", sa.Boolean(), sa.true()))
        batch.create_index("ix_events_batch_id", ["batch_id"])
        batch.create_index("ix_events_tenant_id", ["tenant_id"])
    op.create_index(
        "ix_events_unrelayed",
        "events",
        ["id"],
        sqlite_where=sa.text("relayed = 0"),
        postgresql_where=sa.text("relayed = false"),
    )


@contextmanager
def _changed(table: str, **table_options: bool) -> Iterator[BatchOperations]:
    """Change a table, on SQLite by making it anew, and add its new CHECK constraints."""
    with op.batch_alter_table(table, table_kwargs=table_options) as batch:
        yield batch
        for name, condition in NEW_CHECKS[table].items():
            batch.create_check_constraint(op.f(name), condition)


def _filled(name: str, kind: sa.types.TypeEngine[Any], value: object) -> sa.Column[Any]:
    """Return a column that rows from before have this value in."""
    default = sa.text(f"'{value}'") if isinstance(value, str) else value
    return sa.Column(name, kind, nullable=False, server_default=default)  # type: ignore[arg-type]


def _own(batch: BatchOperations, table: str) -> None:
    batch.add_column(_filled("tenant_id", sa.String(length=40), "default"))
    batch.create_foreign_key(f"fk_{table}_tenant_id", "tenants", ["tenant_id"], ["id"])
