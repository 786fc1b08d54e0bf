"""What a contact sheet of a batch shows of each item: its result and its video's thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from service.batches.records import BatchItemRecord
from service.batches.views import shown_result
from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, ResultRecord, VideoRecord
from service.jobs.store import reading


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One item that has a result.

    Attributes:
        name: of the item.
        job_id: of its job.
        native: its result, as its user sees it.
        video: with what is known of its thumbnails.
    """

    name: str
    job_id: str
    native: dict[str, Any]
    video: VideoRecord


def sheet_rows(core: JobCore, items: Sequence[BatchItemRecord]) -> list[SheetRow]:
    """Return those of a page's items that have results, in their order.

    Args:
        core: bound to the tenant.
        items: of a batch that the tenant was seen to have; few, as all results are in memory.
    """
    by_id = {item.id: item for item in items}
    statement = (
        select(BatchItemRecord.id, JobRecord, ResultRecord.document, VideoRecord)
        .join(JobRecord, JobRecord.id == BatchItemRecord.job_id)
        .join(ResultRecord, ResultRecord.job_id == JobRecord.id)
        .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
        .where(BatchItemRecord.id.in_(by_id), JobRecord.delete_requested.is_(False))
        .order_by(BatchItemRecord.position)
    )
    with reading(core.engine) as session:
        rows = session.execute(statement).all()
    found = []
    for item_id, job, document, video in rows:
        item = by_id[item_id]
        native = shown_result(document, job.options, item.recorded_at, item.camera)
        found.append(SheetRow(item.name, job.id, native, video))
    return found
