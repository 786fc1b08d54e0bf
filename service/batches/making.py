"""Turns items of a batch into jobs, or into results that are there already."""

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
from service.jobs import lifecycle
from service.jobs.commands import NewJob, insert_job, job_record
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.states import JobKind, JobStatus, VideoStatus
from service.jobs.videos import NewVideo, video_record

BATCH_MESSAGES = "batch."
VIDEO_DELETED_CODE = "video_not_found"


def make_jobs(
    session: Session,
    batch: BatchRecord,
    items: Sequence[BatchItemRecord],
    roots: Sequence[str],
    now: datetime,
) -> None:
    """Give waiting items a job each, an earlier result of the same, or the reason for neither.

    Args:
        session: bound to the batch's tenant; the batch is locked.
        batch: that the items belong to.
        items: with their videos where those are there already.
        roots: below which files may be named by path.
        now: the moment.
    """
    videos = _held_videos(session, items)
    open_items, requests = [], []
    for item in items:
        request = _request(session, batch, item, videos.get(item.video_id or ""), roots, now)
        if request is not None:
            open_items.append(item)
            requests.append(request)
    for item, job in zip(
        open_items, _insert_jobs(session, batch.tenant_id, requests, now), strict=True
    ):
        _note_job(item, job)


def open_item(
    session: Session,
    batch: BatchRecord,
    item: BatchItemRecord,
    video: NewVideo,
    now: datetime,
) -> bool:
    """Make the job of one item; return whether the blob that comes with its video is used."""
    job, used = insert_job(session, batch.tenant_id, _job_wish(batch, item, video), now)
    _note_job(item, job)
    return used


def _request(
    session: Session,
    batch: BatchRecord,
    item: BatchItemRecord,
    video: VideoRecord | None,
    roots: Sequence[str],
    now: datetime,
) -> NewJob | None:
    """Return the job that an item needs; None where it has ended without one."""
    refetched = item.kind in {ItemKind.URL, ItemKind.PATH}
    if video is not None and refetched and video.status == VideoStatus.FAILED:
        video = None  # a URL that could not be fetched is fetched anew
    if video is None and not refetched:
        message = "The video was deleted before its turn came; send it again in a new batch."
        fail_item(item, VIDEO_DELETED_CODE, message, now)
        return None
    if video is not None:
        _take_over(batch, item, video)
        known = find_result(session, batch, video.sha256)
        if known is not None:
            end_with(item, known, now)
            return None
    try:
        wanted = video.id if video is not None else _new_video(batch, item, roots)
    except ServiceError as error:
        fail_item(item, error.code, str(error), now)
        return None
    return _job_wish(batch, item, wanted)


def _job_wish(batch: BatchRecord, item: BatchItemRecord, video: str | NewVideo) -> NewJob:
    return NewJob(
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


def _note_job(item: BatchItemRecord, job: JobRecord) -> None:
    item.status = ItemStatus.OPEN
    item.job_id, item.video_id = job.id, job.video_id
    item.attempts += 1
    item.reused = False
    item.taken_by = item.taken_until = None


def _insert_jobs(
    session: Session, tenant_id: str, requests: Sequence[NewJob], now: datetime
) -> list[JobRecord]:
    """Insert many jobs in few statements: of held videos, or of new ones that bring no bytes.

    Same rows as `service.jobs.commands.insert_job`, one flush per table in place of three a job.
    """
    videos = [
        video_record(tenant_id, request.video, now)
        if isinstance(request.video, NewVideo)
        else session.get_one(VideoRecord, request.video)
        for request in requests
    ]
    # A row goes before those that refer to it.
    session.add_all(videos)
    session.flush()
    jobs = [
        job_record(tenant_id, request, video, now)
        for request, video in zip(requests, videos, strict=True)
    ]
    session.add_all(jobs)
    session.flush()
    for job, video in zip(jobs, videos, strict=True):
        lifecycle.add_task(session, job, lifecycle.first_task(job, video), now)
        lifecycle.add_event(session, job, "job.queued", now)
    session.flush()
    return jobs


def _held_videos(session: Session, items: Sequence[BatchItemRecord]) -> dict[str, VideoRecord]:
    """Return the videos that are there; nobody deletes them before their jobs are made."""
    ids = {item.video_id for item in items if item.video_id is not None}
    held = (
        select(VideoRecord)
        .where(VideoRecord.id.in_(ids))
        .order_by(VideoRecord.id)
        .with_for_update(read=True, key_share=True)
    )
    return {video.id: video for video in session.execute(held).scalars()} if ids else {}


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
