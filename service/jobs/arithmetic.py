"""One arithmetic per job: how its chunks are computed, who cannot, and when that is changed.

A job's ``computed_with`` names precision, kernels and versions. The worker that plans it states
it, and only chunks computed that way count as done, so that one video never mixes two. A worker
that cannot compute so declines and is offered no chunk of the job for a while. When nobody who
can has been seen for some time, the job is *re-based*: the arithmetic of a worker that is there
becomes the job's, and what was done otherwise is opened again.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from service.jobs import lifecycle
from service.jobs.records import DeclineRecord, JobRecord, TaskRecord
from service.jobs.states import TaskEvent, TaskKind, TaskStatus, next_task_state

REBASE_SECONDS = 120.0
"""Two leases (docs/decisions.md): a restart is over by then, and a dead worker's tasks are free."""

DECLINE_SECONDS = 60.0
"""How long a worker is not offered the chunks of a job that it declined."""


def may_take(owner: str, now: datetime) -> ColumnElement[bool]:
    """Return the condition under which a task was not declined by this owner lately.

    Plan and join need no particular arithmetic; only chunks are declined.
    """
    declined = (
        select(DeclineRecord.job_id)
        .where(
            DeclineRecord.job_id == TaskRecord.job_id,
            DeclineRecord.owner == owner,
            DeclineRecord.until > now,
        )
        .exists()
    )
    return or_(TaskRecord.kind != TaskKind.CHUNK, ~declined)


def adopt(job: JobRecord, computed_with: Mapping[str, str], now: datetime) -> None:
    """Make an arithmetic the job's, as of now."""
    job.computed_with = dict(computed_with)
    job.able_at = now


def agrees(job: JobRecord, computed_with: Mapping[str, str], now: datetime) -> bool:
    """Return whether a chunk computed this way counts; the first one of all decides for the rest.

    Only a job that was planned before arithmetic was kept has none when a chunk is done.
    """
    if job.computed_with is None or job.computed_with == dict(computed_with):
        adopt(job, computed_with, now)
        return True
    return False


def note_headway(job: JobRecord, task: TaskRecord, now: datetime) -> None:
    """Note that a chunk moves on: whoever cannot compute as asked gives it back before it does."""
    if task.kind == TaskKind.CHUNK:
        job.able_at = now


def decline(session: Session, job: JobRecord, task: TaskRecord, now: datetime) -> None:
    """Remember that the owner of a leased chunk cannot compute as its job asks."""
    until = now + timedelta(seconds=DECLINE_SECONDS)
    if job.able_at is not None:
        # Back in time for the moment at which re-basing is allowed.
        until = min(until, job.able_at + timedelta(seconds=REBASE_SECONDS))
    session.merge(DeclineRecord(owner=str(task.owner), job_id=job.id, until=until))


def may_rebase(session: Session, job: JobRecord, task: TaskRecord, now: datetime) -> bool:
    """Return whether those who can compute as the job asks are taken for gone.

    They are not while another of its chunks moves on under a valid lease, however slowly.
    """
    if job.able_at is not None and now < job.able_at + timedelta(seconds=REBASE_SECONDS):
        return False
    moving = select(TaskRecord.id).where(
        TaskRecord.job_id == job.id,
        TaskRecord.id != task.id,
        TaskRecord.kind == TaskKind.CHUNK,
        TaskRecord.status == TaskStatus.LEASED,
        TaskRecord.lease_until > now,
        TaskRecord.fraction > 0,
    )
    return session.execute(moving.limit(1)).first() is None


def rebase(
    session: Session, job: JobRecord, computed_with: Mapping[str, str], now: datetime
) -> None:
    """Give the job another arithmetic and open its done chunks again.

    Chunks that others hold stay theirs; what they come to is refused by `agrees`. A chunk that
    is opened again has all its attempts: none of them was spent on the new arithmetic.
    """
    before = job.computed_with
    adopt(job, computed_with, now)
    session.execute(delete(DeclineRecord).where(DeclineRecord.job_id == job.id))
    reopened = session.execute(
        update(TaskRecord)
        .where(
            TaskRecord.job_id == job.id,
            TaskRecord.kind == TaskKind.CHUNK,
            TaskRecord.status == TaskStatus.DONE,
        )
        .values(
            status=next_task_state(TaskStatus.DONE, TaskEvent.REOPENED),
            attempts=0,
            fraction=0.0,
            computed=None,
            hinted_at=None,
            run_after=now,
        )
        .returning(TaskRecord.index)
        .execution_options(synchronize_session="fetch")
    )
    lifecycle.add_event(
        session,
        job,
        "job.rebased",
        now,
        before=before,
        after=dict(computed_with),
        reopened=sorted(reopened.scalars()),
    )
