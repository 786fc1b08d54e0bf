"""Lines in which tasks wait, contents extracted once at a time, the pace of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LINE = ["queue", "tenant_id", "turn", "job_id", "chunk_index"]

PARTIAL_INDEXES = {
    "ix_tasks_line": (LINE, "status = 'ready' AND kind <> 'fetch'"),
    "ix_tasks_fetch_line": (LINE, "status = 'ready' AND kind = 'fetch'"),
    "ix_tasks_leased": (["lease_until"], "status = 'leased'"),
    "uq_tasks_content": (["content", "chunk_index"], "status = 'leased'"),
}


def upgrade() -> None:
    """Add what claims look at, and fill it in for the tasks there are."""
    for name, kind, value in (
        ("tenant_id", sa.String(length=40), "default"),
        ("queue", sa.String(length=16), "interactive"),
        ("turn", sa.Integer(), "2"),
    ):
        op.add_column("tasks", sa.Column(name, kind, nullable=False, server_default=value))
    op.add_column("tasks", sa.Column("content", sa.String(length=129), nullable=True))
    for name, pace in (
        ("pace_at", sa.DateTime(timezone=True)),
        ("pace_progress", sa.Float()),
        ("pace_per_second", sa.Float()),
    ):
        op.add_column("jobs", sa.Column(name, pace, nullable=True))
    # Contents stay empty: jobs planned before may extract twice, as they did then.
    op.execute(
        sa.text(
            "UPDATE tasks SET"
            " tenant_id = (SELECT tenant_id FROM jobs WHERE jobs.id = tasks.job_id),"
            " queue = (SELECT queue FROM jobs WHERE jobs.id = tasks.job_id),"
            " turn = CASE kind WHEN 'join' THEN 0 WHEN 'chunk' THEN 1 ELSE 2 END"
        )
    )
    op.drop_index("ix_tasks_open", "tasks")
    for name, (columns, condition) in PARTIAL_INDEXES.items():
        op.create_index(
            name,
            "tasks",
            columns,
            unique=name.startswith("uq_"),
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
    op.create_index("ix_jobs_tenant_id_created_at_id", "jobs", ["tenant_id", "created_at", "id"])
    op.create_index("ix_jobs_tenant_id_tag", "jobs", ["tenant_id", "tag"])
    op.create_index(
        "ix_jobs_delete_requested",
        "jobs",
        ["id"],
        sqlite_where=sa.text("delete_requested IS 1"),
        postgresql_where=sa.text("delete_requested IS TRUE"),
    )


def downgrade() -> None:
    """There is no way back: a backup of the older version is one.

    Raises:
        NotImplementedError: always.
    """
    message = "Restore the copy that was made before the upgrade."
    raise NotImplementedError(message)
