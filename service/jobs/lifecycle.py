"""What happens to a job's row when something happens to its tasks; shared by queue and commands.

Every change locks the job's row first and its tasks after it, so that no two transactions wait
for each other on PostgreSQL (on SQLite BEGIN IMMEDIATE serialises all writers anyway).
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.errors import InputError
from service.jobs import pace
from service.jobs.records import EventRecord, JobRecord, TaskRecord, VideoRecord
from service.jobs.states import (
    ENDED,
    JobEvent,
    JobKind,
    JobStatus,
    TaskEvent,
    TaskKind,
    TaskStatus,
    VideoStatus,
    next_state,
    next_task_state,
)
from service.jobs.store import new_id
from service.metrics.counting import Counter, count, labelled

PLAN_SHARE = 0.02
"""Share of a job's progress that the plan makes up."""
CHUNKS_SHARE = 0.95
"""Share of a job's progress that all chunks together make up; the join has the rest."""

TURNS = {TaskKind.JOIN: 0, TaskKind.CHUNK: 1}
LAST_TURN = 2
"""Of whatever begins a job; see `service.jobs.line`."""

TOLD_EVENTS = frozenset(f"job.{status}" for status in ENDED)

OPEN_TASKS = (TaskStatus.READY, TaskStatus.LEASED)

ABOUT_THE_VIDEO = frozenset(error.code for error in InputError.__subclasses__())
"""Codes of failures that any other job would have with the same video."""


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed: a stable code and one sentence for its user."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan task found out.

    Attributes:
        num_chunks: at least 1.
        facts: JSON object: duration, nominal_fps, vfr, width, height, and whatever chunk and
            join tasks want to find in their payload.
        done_chunks: chunks whose features lie in the store already, computed as stated here.
        computed_with: the arithmetic that every chunk of the job is to have.
        recipe: digest of the features' recipe.
    """

    num_chunks: int
    facts: dict[str, Any]
    done_chunks: AbstractSet[int] = frozenset()
    computed_with: Mapping[str, str] = field(default_factory=dict)
    recipe: str | None = None


def lock_job(session: Session, job_id: str) -> JobRecord | None:
    """Return the job's row, locked until the transaction ends."""
    return session.get(JobRecord, job_id, with_for_update=True, populate_existing=True)


def add_event(
    session: Session,
    job: JobRecord,
    event_type: str,
    now: datetime,
    /,
    **details: Any,  # noqa: ANN401 - any JSON value
) -> None:
    """Append one row to the events of a job."""
    session.add(
        EventRecord(
            tenant_id=job.tenant_id,
            job_id=job.id,
            type=event_type,
            details=details,
            # Receivers of webhooks are told of endings only: the rest waits for nobody.
            relayed=event_type not in TOLD_EVENTS,
            created_at=now,
        )
    )


def add_task(session: Session, job: JobRecord, kind: TaskKind, now: datetime) -> TaskRecord:
    """Insert a claimable task that its job has one of: any but a chunk."""
    task = TaskRecord(
        id=new_id("task"),
        job_id=job.id,
        kind=kind,
        index=0,
        tenant_id=job.tenant_id,
        queue=job.queue,
        turn=TURNS.get(kind, LAST_TURN),
        status=TaskStatus.READY,
        run_after=now,
        created_at=now,
    )
    session.add(task)
    return task


def add_chunk_tasks(session: Session, job: JobRecord, plan: Plan, now: datetime) -> None:
    """Insert a task per chunk; one whose features exist is done from the start."""
    sha256 = session.get_one(VideoRecord, job.video_id).sha256
    content = f"{sha256}:{job.recipe}" if sha256 is not None and job.recipe is not None else None
    for index in range(plan.num_chunks):
        found = index in plan.done_chunks
        session.add(
            TaskRecord(
                id=new_id("task"),
                job_id=job.id,
                kind=TaskKind.CHUNK,
                index=index,
                tenant_id=job.tenant_id,
                queue=job.queue,
                turn=TURNS[TaskKind.CHUNK],
                content=content,
                status=TaskStatus.DONE if found else TaskStatus.READY,
                fraction=1.0 if found else 0.0,
                computed=False if found else None,
                run_after=now,
                created_at=now,
            )
        )


def move_task(task: TaskRecord, event: TaskEvent) -> None:
    """Move a task on; leaving the leased state clears its lease."""
    task.status = next_task_state(TaskStatus(task.status), event)
    if task.status != TaskStatus.LEASED:
        task.owner = None
        task.lease_until = None
    if task.status == TaskStatus.READY:
        task.fraction = 0.0
        task.hinted_at = None


def has_leased_task(session: Session, job_id: str) -> bool:
    """Return whether any worker holds a task of the job."""
    session.flush()
    leased = select(TaskRecord.id).where(
        TaskRecord.job_id == job_id, TaskRecord.status == TaskStatus.LEASED
    )
    return session.execute(leased.limit(1)).first() is not None


def start_job(session: Session, job: JobRecord, now: datetime) -> None:
    """Note that a worker took one of the job's tasks."""
    was = job.status
    job.status = next_state(JobStatus(job.status), JobEvent.CLAIMED)
    job.started_at = job.started_at or now
    if was != job.status:
        pace.begin(job, now)
        add_event(session, job, "job.processing", now)


def settle_job(session: Session, job: JobRecord, now: datetime) -> None:
    """Bring a job to rest after one of its tasks was given back.

    A job whose cancelling was asked for is canceled; otherwise one that no worker holds any
    longer is queued again.
    """
    if job.cancel_requested:
        end_job(session, job, JobEvent.CANCELED, now)
    elif job.status == JobStatus.PROCESSING and not has_leased_task(session, job.id):
        job.status = next_state(JobStatus.PROCESSING, JobEvent.RETURNED)
        job.eta_seconds = None
        add_event(session, job, "job.queued", now)


def end_job(
    session: Session,
    job: JobRecord,
    event: JobEvent,
    now: datetime,
    failure: JobFailure | None = None,
) -> None:
    """End a job and cancel what is left of its tasks; their owners find their leases lost."""
    job.status = next_state(JobStatus(job.status), event)
    job.completed_at = now
    job.eta_seconds = None
    job.stage = None
    if event == JobEvent.SUCCEEDED:
        job.progress = 1.0
    if failure is not None:
        job.error_code, job.error_message = failure.code, failure.message
    session.flush()
    session.execute(
        update(TaskRecord)
        .where(TaskRecord.job_id == job.id, TaskRecord.status.in_(OPEN_TASKS))
        .values(status=TaskStatus.CANCELED, owner=None, lease_until=None)
        .execution_options(synchronize_session="fetch")
    )
    if job.kind == JobKind.PROBE and failure is not None:
        refuse_video(session, job, failure)
    details = {} if failure is None else {"code": failure.code}
    add_event(session, job, f"job.{job.status}", now, **details)
    if job.kind == JobKind.LOCALIZE:
        ended = labelled(status=job.status, code=details.get("code", ""))
        count(session, Counter.JOBS_ENDED, ended)


def first_task(job: JobRecord, video: VideoRecord) -> TaskKind:
    """Return the step that a job begins with once its video's bytes are at hand, or before."""
    if video.source == "url" and video.blob_key is None:
        return TaskKind.FETCH
    return TaskKind.PROBE if job.kind == JobKind.PROBE else TaskKind.PLAN


def note_facts(session: Session, job: JobRecord, facts: Mapping[str, Any]) -> VideoRecord:
    """Store what was found out about a job's video, which is ready with that."""
    video = session.get_one(VideoRecord, job.video_id)
    # Only a probe draws thumbnails; what is known of their strip stays with it.
    strip = (video.facts or {}).get("thumbnails")
    video.facts = {**({} if strip is None else {"thumbnails": strip}), **facts}
    video.sha256 = video.sha256 or facts.get("sha256")
    video.status = VideoStatus.READY
    video.error_code = video.error_message = None
    return video


def is_about_video(kind: TaskKind, failure: JobFailure) -> bool:
    """Return whether a task's failure says that its video cannot be had or is none."""
    return kind == TaskKind.FETCH or (kind == TaskKind.PLAN and failure.code in ABOUT_THE_VIDEO)


def refuse_video(session: Session, job: JobRecord, failure: JobFailure) -> None:
    """Note why a job's video cannot be worked with, unless it was looked at before."""
    video = session.get_one(VideoRecord, job.video_id)
    if video.status == VideoStatus.PENDING:
        video.status = VideoStatus.FAILED
        video.error_code, video.error_message = failure.code, failure.message


def request_stop(session: Session, job: JobRecord, now: datetime) -> None:
    """Note that a job is to stop; one that no worker holds is canceled at once."""
    if not job.cancel_requested:
        job.cancel_requested = True
        add_event(session, job, "job.cancel_requested", now)
    if not has_leased_task(session, job.id):
        end_job(session, job, JobEvent.CANCELED, now)


def update_progress(
    session: Session, job: JobRecord, now: datetime, *, worked: bool = True
) -> None:
    """Derive progress and the time left from the job's tasks.

    Progress never goes back: a chunk that is tried again must not look like lost work elsewhere.

    Args:
        session: open.
        job: locked.
        now: the present.
        worked: whether what was gained took somebody time, so that it says something of the rest.
    """
    session.flush()
    rows = session.execute(
        select(TaskRecord.kind, func.sum(TaskRecord.fraction))
        .where(TaskRecord.job_id == job.id)
        .group_by(TaskRecord.kind)
    )
    done = {kind: float(total) for kind, total in rows}
    chunks = done.get(TaskKind.CHUNK, 0.0) / job.num_chunks if job.num_chunks else 0.0
    progress = (
        PLAN_SHARE * done.get(TaskKind.PLAN, 0.0)
        + CHUNKS_SHARE * chunks
        + (1 - PLAN_SHARE - CHUNKS_SHARE) * done.get(TaskKind.JOIN, 0.0)
    )
    before, job.progress = job.progress, min(1.0, max(job.progress, progress))
    if worked:
        pace.measure(job, now)
    else:
        pace.skip(job, job.progress - before)
