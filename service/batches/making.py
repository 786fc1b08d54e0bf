"""Turns one item of a batch into a job, or into the result that is there already."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import ItemKind, ItemStatus
from service.errors import ServiceError
from service.ingest.names import display_name
from service.ingest.paths import resolve_path
from service.jobs.commands import NewJob, insert_job
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.states import JobKind, JobStatus, VideoStatus
from service.jobs.videos import NewVideo

BATCH_MESSAGES = "batch."
VIDEO_DELETED_CODE = "video_not_found"


def make_job(
    session: Session,
    batch: BatchRecord,
    item: BatchItemRecord,
    roots: Sequence[str],
    now: datetime,
) -> None:
    """Give a waiting item a job, an earlier result of the same, or the reason for neither.

    Args:
        session: bound to the batch's tenant; the batch is locked.
        batch: that the item belongs to.
        item: with its video where it is there already.
        roots: below which files may be named by path.
        now: the moment.
    """
    video = _own_video(session, item)
    if video is None and item.kind in {ItemKind.VIDEO, ItemKind.MEMBER}:
        message = "The video was deleted before its turn came; send it again in a new batch."
        fail_item(item, VIDEO_DELETED_CODE, message, now)
        return
    if video is not None:
        _take_over(batch, item, video)
        known = find_result(session, batch, video.sha256)
        if known is not None:
            end_with(item, known, now)
            return
    try:
        wanted = video.id if video is not None else _new_video(batch, item, roots)
    except ServiceError as error:
        fail_item(item, error.code, str(error), now)
        return
    open_item(session, batch, item, wanted, now)


def open_item(
    session: Session,
    batch: BatchRecord,
    item: BatchItemRecord,
    video: str | NewVideo,
    now: datetime,
) -> bool:
    """Make the job of an item; return whether the blob that comes with its video is used."""
    new = NewJob(
        video=video,
        model=batch.model,
        options=batch.options,
        queue=batch.queue,
        tag=item.tag or batch.tag,
        camera=item.camera or batch.camera,
        recorded_at=item.recorded_at,
        webhook=job_webhook(batch.webhook),
        retry_of=item.job_id,
    )
    job, used = insert_job(session, batch.tenant_id, new, now)
    item.status = ItemStatus.OPEN
    item.job_id, item.video_id = job.id, job.video_id
    item.attempts += 1
    item.reused = False
    item.taken_by = item.taken_until = None
    return used


def fail_item(item: BatchItemRecord, code: str, message: str, now: datetime) -> None:
    """Note why there is no job for an item."""
    item.status = ItemStatus.FAILED
    item.error_code, item.error_message = code, message
    item.ended_at = now
    item.taken_by = item.taken_until = None


def find_result(session: Session, batch: BatchRecord, sha256: str | None) -> str | None:
    """Return a job of the tenant that did the same: bytes, model, recipe and options.

    Args:
        session: bound to the tenant.
        batch: that says what is to be done.
        sha256: of the bytes; None where they are not known yet.
    """
    if sha256 is None:
        return None
    rows = session.execute(
        select(JobRecord.id, JobRecord.options, JobRecord.recipe)
        .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
        .where(
            VideoRecord.sha256 == sha256,
            JobRecord.tenant_id == batch.tenant_id,
            JobRecord.model == batch.model,
            JobRecord.status == JobStatus.SUCCEEDED,
            JobRecord.kind == JobKind.LOCALIZE,
            JobRecord.delete_requested.is_(False),
        )
    )
    for job_id, options, recipe in rows:
        same_recipe = None in {batch.recipe, recipe} or batch.recipe == recipe
        if same_recipe and options == batch.options:
            found: str = job_id
            return found
    return None


def job_webhook(webhook: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what of a batch's webhook is about its single jobs; None if nothing is."""
    if webhook is None:
        return None
    events = [one for one in webhook.get("events") or () if not one.startswith(BATCH_MESSAGES)]
    return {**webhook, "events": events} if events else None


def _own_video(session: Session, item: BatchItemRecord) -> VideoRecord | None:
    if item.video_id is None:
        return None
    video = session.get(VideoRecord, item.video_id)
    refetched = item.kind in {ItemKind.URL, ItemKind.PATH}
    if video is not None and refetched and video.status == VideoStatus.FAILED:
        return None  # a URL that could not be fetched is fetched anew
    return video


def _take_over(batch: BatchRecord, item: BatchItemRecord, video: VideoRecord) -> None:
    item.size_bytes = video.size_bytes
    item.recorded_at = item.recorded_at or video.recorded_at
    item.camera = item.camera or batch.camera or video.camera


def _new_video(batch: BatchRecord, item: BatchItemRecord, roots: Sequence[str]) -> NewVideo:
    reference = item.source
    if item.kind == ItemKind.PATH:
        found = resolve_path(item.source or "", roots)
        reference, item.size_bytes = str(found.path), found.size_bytes
    return NewVideo(
        name=display_name(item.name),
        source=item.kind,
        source_ref=reference,
        camera=item.camera or batch.camera,
        recorded_at=item.recorded_at,
    )


def end_with(item: BatchItemRecord, job_id: str, now: datetime) -> None:
    """Note that a job that was there before has the result of an item."""
    item.status = ItemStatus.SUCCEEDED
    item.job_id = job_id
    item.reused = True
    item.ended_at = now
    item.taken_by = item.taken_until = None
