"""The tables of webhooks and of what is sent to them. Shape, no behaviour."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import ID_LENGTH, NAME_LENGTH, Record, TenantOwned
from service.search.records import SearchRecord

KEY_LENGTH = 64
SECRET_LENGTH = 128
DOCUMENT = JSON(none_as_null=True)
FILTER_COLUMNS = (
    "labels",
    "min_score",
    "max_score",
    "cameras",
    "tags",
    "min_duration",
    "max_duration",
)
"""Which segments a webhook is told of."""


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """To be sent, or sent again, at ``next_attempt_at``."""
    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    FAILED = "failed"
    """Given up; it can be sent again by hand."""


class WebhookRecord(TenantOwned, Record):
    """An address that a tenant wants to be told at.

    Attributes:
        events: types it is told of.
        labels: only segments of these; None for all.
        cameras, tags: only jobs of these; None for all.
        min_score, max_score: only segments of such a score; None for all.
        min_duration, max_duration: only segments of such a length, in seconds; None for all.
        search_id: of the saved search whose filter this is, kept the same by
            `service.search.saved`.
        secret: that its messages are signed with; the server has to know it, so it is not hashed.
        previous_secret: also signs, until ``previous_secret_until``.
        enabled: whether anything is sent.
        disabled_reason: why the service stopped sending; None where the user did, or nobody.
        failing_since: first failure since the last success.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        CheckConstraint("min_score >= 0 AND min_score <= 1", name="min_score"),
        CheckConstraint("max_score >= 0 AND max_score <= 1", name="max_score"),
        CheckConstraint("min_duration >= 0 AND max_duration >= 0", name="durations"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_secret_until IS NULL)", name="previous_secret"
        ),
        CheckConstraint("disabled_reason IS NULL OR NOT enabled", name="disabled_reason"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    events: Mapped[list[str]] = mapped_column(DOCUMENT)
    labels: Mapped[list[str] | None] = mapped_column(DOCUMENT)
    min_score: Mapped[float | None] = mapped_column(Float)
    max_score: Mapped[float | None] = mapped_column(Float)
    cameras: Mapped[list[str] | None] = mapped_column(DOCUMENT)
    tags: Mapped[list[str] | None] = mapped_column(DOCUMENT)
    min_duration: Mapped[float | None] = mapped_column(Float)
    max_duration: Mapped[float | None] = mapped_column(Float)
    search_id: Mapped[str | None] = mapped_column(
        ForeignKey(SearchRecord.id, ondelete="CASCADE"), index=True
    )
    secret: Mapped[str] = mapped_column(String(SECRET_LENGTH))
    previous_secret: Mapped[str | None] = mapped_column(String(SECRET_LENGTH))
    previous_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failing_since: Mapped[datetime | None]
    created_at: Mapped[datetime]


class DeliveryRecord(TenantOwned, Record):
    """One message to one receiver: the row is the queue entry, and the log.

    Attributes:
        id: also the message's ``webhook-id``, the same in every attempt.
        receiver: the webhook's id, or the job's for a job's own webhook.
        event_key: what the message is about; one receiver is told once.
        host: of the receiver, so that a slow one holds up nobody else.
        body: the very bytes, as text.
        next_attempt_at: when to send it; while somebody does, the end of his lease.
        token: fencing token, one higher with each claim.
        attempts: since it was made or last sent again by hand.
        tries: the log: [{at, status_code, error, seconds}], the newest last.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'delivered', 'failed')", name="status"),
        CheckConstraint(
            "(next_attempt_at IS NOT NULL) = (status = 'pending')", name="next_attempt_at"
        ),
        CheckConstraint("(completed_at IS NOT NULL) = (status <> 'pending')", name="completed_at"),
        CheckConstraint("attempts >= 0 AND token >= 0", name="counts"),
        UniqueConstraint("receiver", "event_key"),
        Index("ix_deliveries_job_id_id", "job_id", "id"),
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
        Index(
            "ix_deliveries_due",
            "next_attempt_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_deliveries_completed_at", "completed_at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    receiver: Mapped[str] = mapped_column(String(ID_LENGTH))
    event_key: Mapped[str] = mapped_column(String(KEY_LENGTH))
    webhook_id: Mapped[str | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    batch_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    type: Mapped[str] = mapped_column(String(32))
    host: Mapped[str] = mapped_column(String(NAME_LENGTH))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default=DeliveryStatus.PENDING)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    token: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime | None]
    status_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Text)
    tries: Mapped[list[dict[str, Any]]] = mapped_column(DOCUMENT, default=list)
    created_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
