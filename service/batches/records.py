"""The tables of batches and their items. Shape, no behaviour."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import ID_LENGTH, NAME_LENGTH, BigId, Record, TenantOwned


class BatchRecord(TenantOwned, Record):
    """Many videos to be localized with one model.

    Attributes:
        status: `service.batches.states.BatchStatus`.
        source: where its items come from: ``items``, ``folder`` or ``archive``.
        source_ref: of a folder {path, pattern}, of an archive {video_id}; None for items.
        recipe: digest of the model's features' recipe, where it is known beforehand.
        webhook: {url, events, labels, min_score, secret}, told when it is finished.
        num_items: 0 while it is being prepared.
        cancel_requested: no further job is made, and what is open is canceled.
        delete_requested: invisible, and removed bit by bit.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint(
            "status IN ('preparing', 'processing', 'finished', 'failed', 'canceled')",
            name="status",
        ),
        CheckConstraint("source IN ('items', 'folder', 'archive')", name="source"),
        CheckConstraint("(source_ref IS NULL) = (source = 'items')", name="source_ref"),
        CheckConstraint("queue IN ('interactive', 'batch')", name="queue"),
        CheckConstraint("num_items >= 0", name="num_items"),
        CheckConstraint(
            "(completed_at IS NOT NULL) = (status IN ('finished', 'failed', 'canceled'))",
            name="completed",
        ),
        CheckConstraint(
            "(error_code IS NOT NULL) = (status = 'failed')"
            " AND (error_message IS NULL) = (error_code IS NULL)",
            name="error",
        ),
        CheckConstraint("(idempotency_key IS NULL) = (request_digest IS NULL)", name="idempotency"),
        UniqueConstraint("tenant_id", "idempotency_key"),
        Index("ix_batches_created_at_id", "created_at", "id"),
        Index("ix_batches_status", "status"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    status: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(8))
    source_ref: Mapped[dict[str, Any] | None]
    model: Mapped[str] = mapped_column(String(NAME_LENGTH))
    recipe: Mapped[str | None] = mapped_column(String(64))
    options: Mapped[dict[str, Any]]
    tag: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    camera: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    queue: Mapped[str] = mapped_column(String(16))
    webhook: Mapped[dict[str, Any] | None]
    num_items: Mapped[int] = mapped_column(Integer, default=0)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    delete_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    idempotency_key: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]


class BatchItemRecord(Record):
    """One video of a batch; reached only through its batch, which belongs to a tenant.

    Attributes:
        position: in the batch, from 0.
        name: of the file, for people and in combined results.
        kind: ``url``, ``path``, ``video``, or ``member`` of the batch's archive.
        source: URL, path, or position in the archive; None for a video.
        status: `service.batches.states.ItemStatus`.
        job_id: the job that has or had to do it; None before, and once it was deleted.
        reused: whether the job was there before: same bytes, model and options.
        attempts: jobs that were made for it, and tries to unpack it that were lost.
        taken_until: while it is unpacked, how long whoever does it is waited for.
        taken_by: who does it.
        ended_at: when its end was noticed.
    """

    __tablename__ = "batch_items"
    __table_args__ = (
        CheckConstraint("kind IN ('url', 'path', 'video', 'member')", name="kind"),
        CheckConstraint("(source IS NULL) = (kind = 'video')", name="source"),
        CheckConstraint(
            "status IN ('waiting', 'taken', 'open', 'succeeded', 'failed', 'canceled')",
            name="status",
        ),
        CheckConstraint(
            "(taken_until IS NOT NULL) = (status = 'taken')"
            " AND (taken_by IS NOT NULL) = (status = 'taken')",
            name="taken",
        ),
        CheckConstraint("(error_code IS NOT NULL) = (status = 'failed')", name="error"),
        CheckConstraint(
            "(ended_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))",
            name="ended",
        ),
        UniqueConstraint("batch_id", "position"),
        Index("ix_batch_items_batch_id_status_id", "batch_id", "status", "id"),
        Index("ix_batch_items_batch_id_ended_at", "batch_id", "ended_at"),
        # For the foreign keys: deleting a job or a video looks for its items.
        Index("ix_batch_items_job_id", "job_id"),
        Index("ix_batch_items_video_id", "video_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(8))
    source: Mapped[str | None] = mapped_column(Text)
    video_id: Mapped[str | None] = mapped_column(ForeignKey("videos.id", ondelete="SET NULL"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    status: Mapped[str] = mapped_column(String(16), default="waiting")
    reused: Mapped[bool] = mapped_column(Boolean, default=False)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    taken_until: Mapped[datetime | None]
    taken_by: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    tag: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    camera: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    recorded_at: Mapped[datetime | None]
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    ended_at: Mapped[datetime | None]
