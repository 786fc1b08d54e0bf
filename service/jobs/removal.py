"""Deleting: a job with everything that was made from its video, and what crashes left behind.

Surveillance video is personal data: what a user deletes, or retention ends, is gone from the
database and from the disk.
"""

import shutil
from datetime import timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from service.jobs import lifecycle
from service.jobs.commands import JobCore, visible_job
from service.jobs.records import JobRecord, ResultRecord, VideoRecord
from service.jobs.states import ENDED
from service.jobs.store import reading, transaction
from service.storage import results_prefix

ORPHAN_SECONDS = 24 * 3600.0
"""Source: reliability notes A3: what a crash left behind is swept after a day."""


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

    Files go before rows: a crash in between leaves a row from which the next try goes on.
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
        video = session.get_one(VideoRecord, job.video_id)
        blob_key, sha256 = video.blob_key, video.sha256
        alone = not _count_others(session, job_id, JobRecord.video_id == video.id)
        features_unused = not _count_others(session, job_id, VideoRecord.sha256 == sha256)
    if alone:
        core.blobs.delete(blob_key)
    if features_unused:
        delete_features(core.features_folder, sha256)
    for key, _ in list(core.blobs.keys(results_prefix(job_id))):
        core.blobs.delete(key)
    with transaction(core.engine) as session:
        job = lifecycle.lock_job(session, job_id)
        if job is not None:
            video = session.get_one(VideoRecord, job.video_id)
            session.delete(job)
            session.flush()
            if alone:
                session.delete(video)
    return True


def delete_features(features_folder: Path, sha256: str) -> None:
    """Delete whatever was extracted from the video of this hash, by any recipe."""
    shutil.rmtree(features_folder / sha256[:2] / sha256, ignore_errors=True)


def sweep_orphans(core: JobCore, older_than_seconds: float = ORPHAN_SECONDS) -> int:
    """Delete blobs that no row knows: what crashes between writing and committing left.

    Features are left alone: the command line keeps its own beside the service's.
    """
    with reading(core.engine) as session:
        known = set(session.execute(select(VideoRecord.blob_key)).scalars())
        kept = select(ResultRecord.activations_key)
        known.update(key for key in session.execute(kept).scalars() if key is not None)
        horizon = core.clock.now(session) - timedelta(seconds=older_than_seconds)
    orphans = [
        key
        for prefix in ("videos", "results")
        for key, changed_at in core.blobs.keys(prefix)
        if key not in known and changed_at < horizon
    ]
    for key in orphans:
        core.blobs.delete(key)
    return len(orphans)


def _count_others(session: Session, job_id: str, condition: ColumnElement[bool]) -> int:
    statement = (
        select(func.count())
        .select_from(JobRecord)
        .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
        .where(condition, JobRecord.id != job_id)
    )
    return session.execute(statement).scalar_one()
