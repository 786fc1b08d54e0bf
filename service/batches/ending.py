"""The end of a batch and the event that tells of it."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import BatchStatus, ItemStatus
from service.jobs.records import EventRecord

BATCH_FINISHED = "batch.finished"


def end_batch(session: Session, batch: BatchRecord, now: datetime) -> None:
    """End a locked batch none of whose items is left, and write down that it happened."""
    batch.status = BatchStatus.CANCELED if batch.cancel_requested else BatchStatus.FINISHED
    batch.completed_at = now
    tell_end(session, batch, now)


def tell_end(session: Session, batch: BatchRecord, now: datetime) -> None:
    """Append the event of a batch's end, with what a receiver wants to know at once."""
    rows = session.execute(
        select(BatchItemRecord.status, func.count())
        .where(BatchItemRecord.batch_id == batch.id)
        .group_by(BatchItemRecord.status)
    )
    counts = {row[0]: row[1] for row in rows}
    session.add(
        EventRecord(
            tenant_id=batch.tenant_id,
            batch_id=batch.id,
            type=BATCH_FINISHED,
            details={
                "status": batch.status,
                "name": batch.name,
                "tag": batch.tag,
                "model": batch.model,
                "items": batch.num_items,
                "succeeded": counts.get(ItemStatus.SUCCEEDED, 0),
                "failed": counts.get(ItemStatus.FAILED, 0),
                "canceled": counts.get(ItemStatus.CANCELED, 0),
            },
            created_at=now,
        )
    )
