"""The tables of the job core: tenants, contents, videos, jobs, tasks, events, results, workers.

Shape, no behaviour. Parts of the service with tables of their own (uploads, webhooks, batches,
keys) declare them in their own ``records`` module, on the same `Record`.

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
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID_LENGTH = 40
NAME_LENGTH = 255
SHA256_LENGTH = 64
LINE = ("queue", "tenant_id", "turn", "job_id", "chunk_index")
"""In this order tasks wait; ids of jobs sort by their time of making."""

DEFAULT_TENANT = "default"
"""Who asks without a key, where that is allowed."""

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


class TenantRecord(Record):
    """Somebody whose videos and jobs nobody else sees; ``default`` always exists.

    Attributes:
        quotas: what differs from the deployment's settings; None where nothing does.
    """

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    quotas: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


class TenantOwned:
    """Mixin of tables whose rows belong to one tenant; see `service.jobs.tenancy`."""

    tenant_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("tenants.id"), index=True, default=DEFAULT_TENANT
    )


class ContentRecord(Record):
    """Bytes that are stored once, however many videos of whichever tenants have them.

    Attributes:
        blob_key: never used for other bytes, also not after these are gone.
    """

    __tablename__ = "contents"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint(f"length(sha256) = {SHA256_LENGTH}", name="sha256"),
    )

    sha256: Mapped[str] = mapped_column(String(SHA256_LENGTH), primary_key=True)
    blob_key: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]


class VideoRecord(TenantOwned, Record):
    """One video.

    Attributes:
        name: display name given by the user; never a path.
        source: ``upload``, ``url`` or ``path``.
        source_ref: the URL, or the absolute path that workers open; None for uploads.
        sha256: of its bytes; None until a URL was fetched or a path was first read.
        blob_key: where its bytes lie in the blob store, as `ContentRecord` says; None for a path
            and for a URL that was not fetched yet.
        status: ``pending`` until it was looked at, then ``ready`` or ``failed``.
        facts: what was found out: duration, nominal_fps, vfr, width, height, ...
        thumbnails_key: blob of its thumbnail strip, once drawn.
        kept: it lives until it is deleted or its retention ends; otherwise it came with a job and
            goes with the last one that has it.
        recorded_at: wall-clock moment of its first frame.
    """

    __tablename__ = "videos"
    __table_args__ = (
        CheckConstraint("size_bytes >= 0", name="size"),
        CheckConstraint(f"length(sha256) = {SHA256_LENGTH}", name="sha256"),
        CheckConstraint("source IN ('upload', 'url', 'path')", name="source"),
        CheckConstraint("(source_ref IS NULL) = (source = 'upload')", name="source_ref"),
        CheckConstraint("source <> 'path' OR blob_key IS NULL", name="path"),
        CheckConstraint(
            "blob_key IS NULL OR (sha256 IS NOT NULL AND size_bytes IS NOT NULL)", name="blob"
        ),
        CheckConstraint("status IN ('pending', 'ready', 'failed')", name="status"),
        CheckConstraint("(error_code IS NOT NULL) = (status = 'failed')", name="error"),
        Index("ix_videos_created_at_id", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    source: Mapped[str] = mapped_column(String(8), default="upload")
    source_ref: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str | None] = mapped_column(String(SHA256_LENGTH), index=True)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    blob_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH), index=True)
    status: Mapped[str] = mapped_column(String(8), default="pending")
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    facts: Mapped[dict[str, Any] | None]
    thumbnails_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    kept: Mapped[bool] = mapped_column(Boolean, default=False)
    camera: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    recorded_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class JobRecord(TenantOwned, Record):
    """One localization of one video with one model, or (``probe``) one look at a video.

    Attributes:
        kind: ``localize``, or ``probe``, which users do not see: it finds out a video's facts and
            draws its thumbnails.
        queue: ``interactive`` goes before ``batch``.
        camera: where the video was recorded, in the user's words.
        recorded_at: wall-clock moment of the video's first frame.
        webhook: {url, events, labels, min_score, secret} of this job alone.
        retry_of: the job that this one was asked for to repeat.
        recipe: digest of its features' recipe; known once the plan is done.
        started_at: first claim ever; a job that went back to queued keeps it.
        num_chunks: known once the plan is done.
        computed_with: the arithmetic that all its chunks share; None before the plan is done.
        able_at: when a worker that computes this way was last seen to work for the job.
        pace_at, pace_progress: when and where its headway was last measured; pace_per_second: what
            was measured, in progress per second; see `service.jobs.pace`.
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
        CheckConstraint("kind IN ('localize', 'probe')", name="kind"),
        CheckConstraint("queue IN ('interactive', 'batch')", name="queue"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_jobs_created_at_id", "created_at", "id"),
        Index("ix_jobs_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_jobs_tenant_id_tag", "tenant_id", "tag"),
        Index("ix_jobs_status_completed_at", "status", "completed_at"),
        Index(
            "ix_jobs_delete_requested",
            "id",
            sqlite_where=text("delete_requested IS 1"),
            postgresql_where=text("delete_requested IS TRUE"),
        ),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id"), index=True)
    kind: Mapped[str] = mapped_column(String(8), default="localize")
    queue: Mapped[str] = mapped_column(String(16), default="interactive")
    status: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str | None] = mapped_column(String(16))
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    eta_seconds: Mapped[float | None] = mapped_column(Float)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    delete_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    model: Mapped[str] = mapped_column(String(NAME_LENGTH))
    options: Mapped[dict[str, Any]]
    tag: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    camera: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    recorded_at: Mapped[datetime | None]
    webhook: Mapped[dict[str, Any] | None]
    retry_of: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    recipe: Mapped[str | None] = mapped_column(String(SHA256_LENGTH))
    num_chunks: Mapped[int | None] = mapped_column(Integer)
    computed_with: Mapped[dict[str, Any] | None]
    able_at: Mapped[datetime | None]
    pace_at: Mapped[datetime | None]
    pace_progress: Mapped[float | None] = mapped_column(Float)
    pace_per_second: Mapped[float | None] = mapped_column(Float)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    request_digest: Mapped[str | None] = mapped_column(String(SHA256_LENGTH))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class TaskRecord(Record):
    """One claimable step of a job: the row is the queue entry.

    Attributes:
        index: of the chunk; 0 for plan and join.
        tenant_id, queue: the job's; here again, because a claim must find the next in line by
            one index.
        turn: of two tasks in one line the lower goes first; see `service.jobs.claims`.
        content: names the bytes and the recipe of a chunk's features. No two tasks that are
            leased have the same one and the same index: nothing is extracted twice.
        token: fencing token, one higher with each claim; a commit under an older one is refused.
        attempts: claims that were not given back by a drain.
        run_after: not claimable before.
        fraction: how much of it is done, in [0, 1].
        computed: whether a done chunk was computed, rather than found in the feature store.
        hinted_at: when a message about it was last published.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("kind IN ('fetch', 'probe', 'plan', 'chunk', 'join')", name="kind"),
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
            "uq_tasks_fetch",
            "job_id",
            unique=True,
            sqlite_where=text("kind = 'fetch'"),
            postgresql_where=text("kind = 'fetch'"),
        ),
        Index(
            "uq_tasks_probe",
            "job_id",
            unique=True,
            sqlite_where=text("kind = 'probe'"),
            postgresql_where=text("kind = 'probe'"),
        ),
        Index(
            "uq_tasks_join",
            "job_id",
            unique=True,
            sqlite_where=text("kind = 'join'"),
            postgresql_where=text("kind = 'join'"),
        ),
        Index(
            "uq_tasks_content",
            "content",
            "chunk_index",
            unique=True,
            sqlite_where=text("status = 'leased'"),
            postgresql_where=text("status = 'leased'"),
        ),
        Index(
            "ix_tasks_line",
            *LINE,
            sqlite_where=text("status = 'ready' AND kind <> 'fetch'"),
            postgresql_where=text("status = 'ready' AND kind <> 'fetch'"),
        ),
        Index(
            "ix_tasks_fetch_line",
            *LINE,
            sqlite_where=text("status = 'ready' AND kind = 'fetch'"),
            postgresql_where=text("status = 'ready' AND kind = 'fetch'"),
        ),
        Index(
            "ix_tasks_leased",
            "lease_until",
            sqlite_where=text("status = 'leased'"),
            postgresql_where=text("status = 'leased'"),
        ),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8))
    index: Mapped[int] = mapped_column("chunk_index", Integer, default=0)
    tenant_id: Mapped[str] = mapped_column(String(ID_LENGTH), default=DEFAULT_TENANT)
    queue: Mapped[str] = mapped_column(String(16), default="interactive")
    turn: Mapped[int] = mapped_column(Integer, default=2)
    content: Mapped[str | None] = mapped_column(String(2 * SHA256_LENGTH + 1))
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


class EventRecord(TenantOwned, Record):
    """Something that happened to a job or a batch, in order of ``id``, which is never used twice.

    Written in the transaction that made it happen: an outbox for whoever tells others about it.

    Attributes:
        batch_id: of the batch; the part of the service that has batches deletes its events.
        relayed: whether webhook deliveries were made from it.
    """

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("(job_id IS NULL) <> (batch_id IS NULL)", name="subject"),
        Index("ix_events_job_id_id", "job_id", "id"),
        Index("ix_events_batch_id", "batch_id"),
        Index(
            "ix_events_unrelayed",
            "id",
            sqlite_where=text("relayed = 0"),
            postgresql_where=text("relayed = false"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    batch_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    type: Mapped[str] = mapped_column(String(32))
    details: Mapped[dict[str, Any]]
    relayed: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]


class ResultRecord(Record):
    """The one result of a job.

    Attributes:
        document: the native result object.
        token: fencing token of the join that made it.
        activations_key: blob of the activations as JSON, if they were kept.
        searchable: whether its segments are rows of their own; see `service.search.indexing`.
    """

    __tablename__ = "results"
    __table_args__ = (
        Index(
            "ix_results_unsearchable",
            "job_id",
            sqlite_where=text("searchable = 0"),
            postgresql_where=text("searchable = false"),
        ),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    document: Mapped[dict[str, Any]]
    token: Mapped[int] = mapped_column(Integer)
    activations_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    searchable: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]


class WorkerRecord(Record):
    """A worker and when it last asked for work or renewed a lease."""

    __tablename__ = "workers"

    owner: Mapped[str] = mapped_column(String(NAME_LENGTH), primary_key=True)
    seen_at: Mapped[datetime]
