"""Claiming: which task may be taken, taking it, and proving later that it is still held."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.jobs import lifecycle, line
from service.jobs.line import ClaimRequest
from service.jobs.records import JobRecord, TaskRecord, VideoRecord, WorkerRecord
from service.jobs.states import ENDED, TaskStatus


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task and all its worker needs to know, as of the claim.

    Attributes:
        kind: ``fetch``, ``probe``, ``plan``, ``chunk`` or ``join``.
        index: of the chunk; 0 for plan and join.
        token: to be handed in with everything that is reported about the task.
        attempt: 1 for the first.
        payload: ``facts`` (None before the plan is done) and ``num_chunks`` of the video.
        computed_with: the arithmetic of the job's chunks; None while none was stated.
        tenant_id: whose job it is.
        video_id: of the video; video_name is for display only.
        video_key: its blob; None for a video by path, and for one that is still to be fetched.
        video_ref: its URL or absolute path, if it has one.
        video_sha256: None until its bytes were read once.
    """

    id: str
    job_id: str
    kind: str
    index: int
    token: int
    attempt: int
    lease_until: datetime
    payload: dict[str, Any]
    computed_with: dict[str, str] | None
    tenant_id: str
    video_id: str
    video_key: str | None
    video_ref: str | None
    video_name: str
    video_sha256: str | None
    model: str
    options: dict[str, Any]


def claim_task(session: Session, request: ClaimRequest) -> ClaimedTask | None:
    """Take a task for its asker; None if there is none to take."""
    tried: list[str] = []
    while (job_id := line.next_job(session, request, tried)) is not None:
        job = lifecycle.lock_job(session, job_id)
        # Between the look and the lock the job may have ended or lost its last free task.
        if job is not None and job.status not in ENDED and not job.cancel_requested:
            try:
                with session.begin_nested():
                    task = _take(session, job_id, request)
            except IntegrityError:
                # The same chunk of the same bytes went to another job at this very moment; now
                # that it is seen, it is not offered again.
                continue
            if task is not None:
                return _begin(session, job, task, request)
        tried.append(job_id)
    return None


def _take(session: Session, job_id: str, request: ClaimRequest) -> TaskRecord | None:
    candidate = (
        select(TaskRecord.id)
        .where(TaskRecord.job_id == job_id, line.takeable(request))
        .order_by(TaskRecord.index, TaskRecord.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    if request.task_id is not None:
        candidate = candidate.where(TaskRecord.id == request.task_id)
    return session.execute(
        update(TaskRecord)
        .where(TaskRecord.id == candidate.scalar_subquery())
        .values(
            status=TaskStatus.LEASED,
            owner=request.owner,
            token=TaskRecord.token + 1,
            attempts=TaskRecord.attempts + 1,
            lease_until=request.lease_until,
            fraction=0.0,
        )
        .returning(TaskRecord)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).scalar_one_or_none()


def _begin(
    session: Session, job: JobRecord, task: TaskRecord, request: ClaimRequest
) -> ClaimedTask:
    lifecycle.start_job(session, job, request.now)
    lifecycle.add_event(
        session,
        job,
        "task.claimed",
        request.now,
        task_id=task.id,
        kind=task.kind,
        index=task.index,
        token=task.token,
        attempt=task.attempts,
        owner=task.owner,
    )
    video = session.get_one(VideoRecord, job.video_id)
    return ClaimedTask(
        id=task.id,
        job_id=job.id,
        kind=task.kind,
        index=task.index,
        token=task.token,
        attempt=task.attempts,
        lease_until=request.lease_until,
        payload={"facts": video.facts, "num_chunks": job.num_chunks},
        computed_with=job.computed_with,
        tenant_id=job.tenant_id,
        video_id=video.id,
        video_key=video.blob_key,
        video_ref=video.source_ref,
        video_name=video.name,
        video_sha256=video.sha256,
        model=job.model,
        options=dict(job.options),
    )


def note_worker(session: Session, owner: str, now: datetime) -> None:
    """Note that a worker is alive."""
    session.merge(WorkerRecord(owner=owner, seen_at=now))


def held(session: Session, task_id: str, token: int) -> tuple[JobRecord, TaskRecord]:
    """Return job and task, both locked, if the task is leased under this token."""
    job_id = session.execute(
        select(TaskRecord.job_id).where(TaskRecord.id == task_id)
    ).scalar_one_or_none()
    job = lifecycle.lock_job(session, job_id) if job_id is not None else None
    task = session.get(TaskRecord, task_id, with_for_update=True, populate_existing=True)
    if job is None or task is None or task.status != TaskStatus.LEASED or task.token != token:
        message = f"Task {task_id} is no longer leased under token {token}; drop its work."
        raise LeaseLost(message)
    return job, task
