"""The tables: videos, jobs, tasks, declines, events, results, workers. Shape, no behaviour.

What must never be is refused by the database itself: CHECK constraints for impossible
combinations, unique indexes for "one plan per job", "one join per job", "one result per job".
All times are timezone-aware UTC.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID_LENGTH = 40
NAME_LENGTH = 255
SHA256_LENGTH = 64

# Alembic can only change constraints that have predictable names.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware moment; SQLite, which knows no zones, stores it as naive UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what the driver stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"Expected a timezone-aware moment, got the naive {value}."
            raise ValueError(message)
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the driver returns into an aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if dialect.name == "sqlite" else value.astimezone(UTC)


# SQLite increments only INTEGER PRIMARY KEY columns by itself.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class Record(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own class-level declaration
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
    }


class VideoRecord(Record):
    """One uploaded video.

    Attributes:
        name: display name given by the user; never a path.
        blob_key: where its bytes lie in the blob store.
        facts: what the plan task found out: duration, nominal_fps, vfr, width, height, ...
    """

    __tablename__ = "videos"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint(f"length(sha256) = {SHA256_LENGTH}", name="sha256"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    sha256: Mapped[str] = mapped_column(String(SHA256_LENGTH), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    blob_key: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    facts: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class JobRecord(Record):
    """One localization of one video with one model.

    Attributes:
        started_at: first claim ever; a job that went back to queued keeps it.
        num_chunks: known once the plan is done.
        computed_with: the arithmetic that all its chunks share; None before the plan is done.
        able_at: when a worker that computes this way was last seen to work for the job.
        idempotency_key: of the request that made it; the same key never makes a second job.
        delete_requested: the job is invisible, and removed once no worker holds it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "status IN ('queued', 'processing', 'succeeded', 'failed', 'canceled')", name="status"
        ),
        CheckConstraint("progress >= 0 AND progress <= 1", name="progress"),
        CheckConstraint(
            "(completed_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))",
            name="completed",
        ),
        CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')"
            " AND (error_message IS NULL) = (error_code IS NULL)",
            name="error",
        ),
        CheckConstraint("status <> 'processing' OR started_at IS NOT NULL", name="started"),
        CheckConstraint(
            "status <> 'succeeded' OR NOT cancel_requested", name="no_success_after_cancel"
        ),
        CheckConstraint("num_chunks IS NULL OR num_chunks >= 1", name="num_chunks"),
        CheckConstraint("(idempotency_key IS NULL) = (request_digest IS NULL)", name="idempotency"),
        Index("ix_jobs_created_at_id", "created_at", "id"),
        Index("ix_jobs_status_completed_at", "status", "completed_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id"), index=True)
    status: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str | None] = mapped_column(String(16))
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    delete_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    model: Mapped[str] = mapped_column(String(NAME_LENGTH))
    options: Mapped[dict[str, Any]]
    tag: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    num_chunks: Mapped[int | None] = mapped_column(Integer)
    computed_with: Mapped[dict[str, Any] | None]
    able_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(SHA256_LENGTH))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class TaskRecord(Record):
    """One claimable step of a job: the row is the queue entry.

    Attributes:
        index: of the chunk; 0 for plan and join.
        token: fencing token, one higher with each claim; a commit under an older one is refused.
        attempts: claims that were not given back by a drain.
        run_after: not claimable before.
        fraction: how much of it is done, in [0, 1].
        computed: whether a done chunk was computed, rather than found in the feature store.
        hinted_at: when a message about it was last published.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("kind IN ('plan', 'chunk', 'join')", name="kind"),
        CheckConstraint(
            "status IN ('ready', 'leased', 'done', 'failed', 'canceled')", name="status"
        ),
        CheckConstraint(
            "(lease_until IS NOT NULL) = (status = 'leased')"
            " AND (owner IS NOT NULL) = (status = 'leased')",
            name="lease",
        ),
        CheckConstraint("token >= 0 AND attempts >= 0 AND attempts <= token", name="counts"),
        CheckConstraint(
            "chunk_index >= 0 AND (kind = 'chunk' OR chunk_index = 0)", name="chunk_index"
        ),
        CheckConstraint("fraction >= 0 AND fraction <= 1", name="fraction"),
        Index(
            "uq_tasks_chunk",
            "job_id",
            "chunk_index",
            unique=True,
            sqlite_where=text("kind = 'chunk'"),
            postgresql_where=text("kind = 'chunk'"),
        ),
        Index(
            "uq_tasks_plan",
            "job_id",
            unique=True,
            sqlite_where=text("kind = 'plan'"),
            postgresql_where=text("kind = 'plan'"),
        ),
        Index(
            "uq_tasks_join",
            "job_id",
            unique=True,
            sqlite_where=text("kind = 'join'"),
            postgresql_where=text("kind = 'join'"),
        ),
        Index(
            "ix_tasks_open",
            "status",
            "run_after",
            sqlite_where=text("status IN ('ready', 'leased')"),
            postgresql_where=text("status IN ('ready', 'leased')"),
        ),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    index: Mapped[int] = mapped_column("chunk_index", Integer, default=0)
    status: Mapped[str] = mapped_column(String(8))
    owner: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    token: Mapped[int] = mapped_column(Integer, default=0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    lease_until: Mapped[datetime | None]
    run_after: Mapped[datetime]
    fraction: Mapped[float] = mapped_column(Float, default=0.0)
    computed: Mapped[bool | None] = mapped_column(Boolean)
    hinted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class DeclineRecord(Record):
    """A worker that cannot compute as a job asks: it is offered no chunk of it for a while."""

    __tablename__ = "declines"

    owner: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    job_id: Mapped[str] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    until: Mapped[datetime]


class EventRecord(Record):
    """Something that happened to a job, in order of ``id``, which is never used twice."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_job_id_id", "job_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    details: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class ResultRecord(Record):
    """The one result of a job.

    Attributes:
        document: the native result object.
        token: fencing token of the join that made it.
        activations_key: blob of the activations as JSON, if they were kept.
    """

    __tablename__ = "results"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    document: Mapped[dict[str, Any]]
    token: Mapped[int] = mapped_column(Integer)
    activations_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    created_at: Mapped[datetime]


class WorkerRecord(Record):
    """A worker and when it last asked for work or renewed a lease."""

    __tablename__ = "workers"

    owner: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    seen_at: Mapped[datetime]
