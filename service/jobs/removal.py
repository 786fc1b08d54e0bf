"""Deleting: a job with everything that was made from its video, and what crashes left behind.

Surveillance video is personal data: what a user deletes, or retention ends, is gone from the
database and from the disk.
"""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from service.jobs import lifecycle
from service.jobs.commands import JobCore, visible_job
from service.jobs.records import ContentRecord, JobRecord, ResultRecord, VideoRecord
from service.jobs.states import ENDED
from service.jobs.store import reading, transaction
from service.jobs.tenancy import ALL_TENANTS
from service.jobs.videos import drop_content
from service.search.indexing import unindex_job
from service.storage import features_prefix, results_prefix

ORPHAN_SECONDS = 24 * 3600.0
"""Source: reliability notes A3: what a crash left behind is swept after a day."""

_log = structlog.get_logger(__name__)


def delete_job(core: JobCore, job_id: str) -> bool:
    """Delete a job with its video, features, activations, result and rows.

    Returns:
        Whether it is gone. False: a worker still holds it, was told to stop, and the sweeper
        deletes it as soon as the worker lets go; to users it is gone already.

    Raises:
        JobNotFound: there is none.
    """
    with reading(core.engine) as session:
        visible_job(session, job_id)
    return purge_job(core, job_id)


def purge_job(core: JobCore, job_id: str) -> bool:
    """Delete a job as `delete_job` does, also one whose deletion was begun; for the sweeper.

    Its video goes with it unless it is kept or another job has it. Files of its own go before
    rows: a crash in between leaves a row from which the next try goes on.
    """
    with transaction(core.engine) as session:
        job = lifecycle.lock_job(session, job_id)
        if job is None:
            return True
        job.delete_requested = True
        if job.status not in ENDED:
            lifecycle.request_stop(session, job, core.clock.now(session))
        if lifecycle.has_leased_task(session, job_id):
            return False
    for key, _ in list(core.blobs.keys(results_prefix(job_id))):
        core.blobs.delete(key)
    with transaction(core.engine) as session:
        job = lifecycle.lock_job(session, job_id)
        if job is None:
            return True
        video_id = job.video_id
        unindex_job(session, job)
        session.delete(job)
        session.flush()
        rubbish = drop_unwanted_video(session, video_id)
    throw_away(core, rubbish)
    return True


@dataclass(frozen=True, slots=True)
class Rubbish:
    """What is to be deleted once the rows are gone: blobs, and features by the video's hash."""

    blobs: tuple[str, ...] = ()
    features_of: str | None = None


def drop_unwanted_video(session: Session, video_id: str) -> Rubbish:
    """Delete a video's row unless it is kept or a job has it; return what goes with it."""
    video = session.get(VideoRecord, video_id, with_for_update=True)
    if video is None or video.kept:
        return Rubbish()
    if session.scalar(select(exists().where(JobRecord.video_id == video_id))):
        return Rubbish()
    return drop_video_row(session, video)


def drop_video_row(session: Session, video: VideoRecord) -> Rubbish:
    """Delete the row of a video that no job has; return what is to be deleted after the commit."""
    sha256, thumbnails_key = video.sha256, video.thumbnails_key
    session.delete(video)
    session.flush()
    blobs = (drop_content(session, sha256), thumbnails_key)
    unused = sha256 is not None and not session.scalar(
        select(exists().where(VideoRecord.sha256 == sha256)).execution_options(**ALL_TENANTS)
    )
    return Rubbish(
        blobs=tuple(key for key in blobs if key is not None),
        features_of=sha256 if unused else None,
    )


def throw_away(core: JobCore, rubbish: Rubbish) -> None:
    """Delete what `drop_video_row` returned, after its commit."""
    for key in rubbish.blobs:
        core.blobs.delete(key)
    if rubbish.features_of is not None:
        delete_features(core.features_folder, rubbish.features_of)
        for key, _ in list(core.blobs.keys(features_prefix(rubbish.features_of))):
            core.blobs.delete(key)


def delete_features(features_folder: Path, sha256: str) -> None:
    """Delete whatever was extracted from the video of this hash, by any recipe."""
    shutil.rmtree(features_folder / sha256[:2] / sha256, ignore_errors=True)


def sweep_orphans(core: JobCore, older_than_seconds: float = ORPHAN_SECONDS) -> int:
    """Delete blobs that no row knows: what crashes between writing and committing left.

    Features are left alone: the command line keeps its own beside the service's. A database that
    knows no blob at all deletes none: it is rather the wrong one for this storage.
    """
    with reading(core.engine) as session:
        known: set[str | None] = set()
        for column in (
            ContentRecord.blob_key,
            ResultRecord.activations_key,
            VideoRecord.thumbnails_key,
        ):
            known.update(session.execute(select(column)).scalars())
        horizon = core.clock.now(session) - timedelta(seconds=older_than_seconds)
    orphans = [
        key
        for prefix in ("videos", "results", "thumbnails")
        for key, changed_at in core.blobs.keys(prefix)
        if key not in known and changed_at < horizon
    ]
    if orphans and known <= {None}:
        _log.error("orphans_kept", number=len(orphans), reason="the database knows no blob")
        return 0
    for key in orphans:
        core.blobs.delete(key)
    return len(orphans)
