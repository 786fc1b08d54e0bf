"""The videos of a tenant: listed, looked at, deleted with everything that was made from them."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from service.errors import InvalidRequest, VideoInUse, VideoNotFound, VideoNotReady
from service.ingest.records import UploadRecord
from service.jobs.commands import JobCore, NewJob, insert_job
from service.jobs.paging import behind, page_token
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.removal import drop_video_row, purge_job, throw_away
from service.jobs.states import ENDED, JobKind, JobStatus, VideoStatus
from service.jobs.store import reading, transaction


@dataclass(frozen=True, slots=True)
class VideoFilter:
    """Which videos are listed; None leaves a question open.

    Attributes:
        name: part of the name, in any case.
        camera: the whole word.
    """

    status: VideoStatus | None = None
    name: str | None = None
    camera: str | None = None


@dataclass(frozen=True, slots=True)
class VideoPage:
    """Videos, newest first, and the token of the next page; None after the last."""

    videos: list[VideoRecord]
    next_page_token: str | None


def list_videos(core: JobCore, wanted: VideoFilter, page_size: int, token: str | None) -> VideoPage:
    """Return videos, newest first.

    Raises:
        InvalidRequest: the page token is none of ours, or a word cannot be printed.
    """
    for word in (wanted.name, wanted.camera):
        if word is not None and not word.isprintable():
            message = "The name or camera asked for holds characters that cannot be printed."
            raise InvalidRequest(message)
    statement = (
        select(VideoRecord)
        .where(_shown())
        .order_by(VideoRecord.created_at.desc(), VideoRecord.id.desc())
        .limit(page_size + 1)
    )
    if wanted.status is not None:
        statement = statement.where(VideoRecord.status == wanted.status)
    if wanted.name is not None:
        statement = statement.where(VideoRecord.name.icontains(wanted.name, autoescape=True))
    if wanted.camera is not None:
        statement = statement.where(VideoRecord.camera == wanted.camera)
    if token is not None:
        statement = statement.where(behind(token, VideoRecord.created_at, VideoRecord.id))
    with reading(core.engine) as session:
        videos = list(session.execute(statement).scalars())
    last = videos[page_size - 1] if len(videos) > page_size else None
    following = page_token(last.created_at, last.id) if last is not None else None
    return VideoPage(videos[:page_size], following)


def get_video(core: JobCore, video_id: str) -> VideoRecord:
    """Return a video.

    Raises:
        VideoNotFound: there is none, or it was deleted.
    """
    with reading(core.engine) as session:
        return _shown_video(session, video_id)


def delete_video(core: JobCore, video_id: str, *, force: bool) -> bool:
    """Delete a video with its bytes, features, thumbnails, jobs and results.

    Args:
        core: bound to the tenant.
        video_id: of the video.
        force: cancel what is under way.

    Returns:
        Whether it is gone. False: a worker still holds a job of it, was told to stop, and the
        sweeper deletes the rest as soon as it lets go; to users it is gone already.

    Raises:
        VideoNotFound: there is none.
        VideoInUse: an unfinished job needs it, and force was not asked for.
    """
    with transaction(core.engine) as session:
        video = _shown_video(session, video_id)
        jobs = list(
            session.execute(
                select(JobRecord)
                .where(JobRecord.video_id == video_id)
                .order_by(JobRecord.id)
                .with_for_update()
            ).scalars()
        )
        _require_unused(jobs, force)
        # Without jobs that are to be seen it is out of sight; with the last of them it goes.
        video.kept = False
        for job in jobs:
            job.delete_requested = True
        session.execute(delete(UploadRecord).where(UploadRecord.video_id == video_id))
        rubbish = None if jobs else drop_video_row(session, video)
        job_ids = [job.id for job in jobs]
    if rubbish is not None:
        throw_away(core, rubbish)
    gone = [purge_job(core, job_id) for job_id in job_ids]
    return all(gone)


def require_probe(core: JobCore, video_id: str) -> None:
    """Make sure that somebody will look at a video and draw its thumbnails.

    Raises:
        VideoNotFound: there is none.
        VideoNotReady: somebody did, and no picture of it could be drawn.
    """
    with transaction(core.engine) as session:
        video = session.get(VideoRecord, video_id, with_for_update=True)
        if video is None:
            raise _not_found(video_id)
        probes = select(JobRecord.status).where(
            JobRecord.video_id == video_id, JobRecord.kind == JobKind.PROBE
        )
        states = set(session.execute(probes).scalars())
        if JobStatus.SUCCEEDED in states and video.thumbnails_key is None:
            message = "No picture of this video could be drawn; look at its facts instead."
            raise VideoNotReady(message)
        if states <= ENDED:
            probe = NewJob(video=video_id, model="", kind=JobKind.PROBE)
            insert_job(session, video.tenant_id, probe, core.clock.now(session))


def sweep_videos(core: JobCore, older_than_days: float, limit: int = 100) -> int:
    """Delete kept videos whose time is over: made so long ago, and no job has them any longer.

    Args:
        core: of all tenants.
        older_than_days: the retention.
        limit: of one call.

    Returns:
        How many were deleted.
    """
    with reading(core.engine) as session:
        horizon = core.clock.now(session) - timedelta(days=older_than_days)
        used = exists().where(JobRecord.video_id == VideoRecord.id)
        over = session.execute(
            select(VideoRecord.id)
            .where(VideoRecord.kept.is_(True), VideoRecord.created_at <= horizon, ~used)
            .order_by(VideoRecord.id)
            .limit(limit)
        )
        video_ids = list(over.scalars())
    deleted = 0
    for video_id in video_ids:
        try:
            deleted += delete_video(core, video_id, force=False)
        except (VideoInUse, VideoNotFound):
            # Somebody began to use it, or deleted it, at this moment.
            continue
    return deleted


def _require_unused(jobs: list[JobRecord], force: bool) -> None:
    needed = [job for job in jobs if job.kind == JobKind.LOCALIZE and job.status not in ENDED]
    if needed and not force:
        message = (
            f"The job {needed[0].id} still needs the video; wait for it, cancel it, or repeat the "
            "request with ?force=true."
        )
        raise VideoInUse(message)


def _shown() -> ColumnElement[bool]:
    """Videos kept for their own sake, and those of jobs that are to be seen."""
    of_shown_job = exists().where(
        and_(JobRecord.video_id == VideoRecord.id, JobRecord.delete_requested.is_(False))
    )
    return or_(VideoRecord.kept.is_(True), of_shown_job)


def _shown_video(session: Session, video_id: str) -> VideoRecord:
    video = session.execute(
        select(VideoRecord).where(VideoRecord.id == video_id, _shown())
    ).scalar_one_or_none()
    if video is None:
        raise _not_found(video_id)
    return video


def _not_found(video_id: str) -> VideoNotFound:
    return VideoNotFound(
        f"There is no video {video_id}; it may have been deleted, or its retention is over."
    )
