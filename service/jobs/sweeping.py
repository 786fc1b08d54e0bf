"""What the sweeper asks of the queue: tasks that want a hint, jobs whose time is over."""

from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from service.jobs.claims import claimable, open_job
from service.jobs.records import JobRecord, TaskRecord
from service.jobs.states import ENDED, TaskKind, TaskStatus

HINT_REPEAT_SECONDS = 60.0


def due_hints(session: Session, now: datetime, max_attempts: int, limit: int) -> list[str]:
    """Return ids of claimable tasks that no message was published about lately."""
    stale = now - timedelta(seconds=HINT_REPEAT_SECONDS)
    statement = (
        select(TaskRecord.id)
        .join(JobRecord, JobRecord.id == TaskRecord.job_id)
        .where(
            claimable(now, max_attempts),
            # Who fetches asks the database itself.
            TaskRecord.kind != TaskKind.FETCH,
            open_job(),
            or_(TaskRecord.hinted_at.is_(None), TaskRecord.hinted_at <= stale),
        )
        .order_by(JobRecord.created_at, TaskRecord.index)
        .limit(limit)
    )
    return list(session.execute(statement).scalars())


def mark_hinted(session: Session, ids: list[str], now: datetime) -> None:
    """Note that messages about these tasks were published."""
    session.execute(
        update(TaskRecord)
        .where(TaskRecord.id.in_(ids))
        .values(hinted_at=now)
        .execution_options(synchronize_session=False)
    )


def expired_jobs(session: Session, horizon: datetime, limit: int) -> list[str]:
    """Return ids of jobs that ended before the horizon, or were deleted by their user.

    Jobs that a worker still holds are left out.
    """
    held = (
        select(TaskRecord.id)
        .where(TaskRecord.job_id == JobRecord.id, TaskRecord.status == TaskStatus.LEASED)
        .exists()
    )
    statement = (
        select(JobRecord.id)
        .where(
            or_(
                JobRecord.delete_requested.is_(True),
                and_(JobRecord.status.in_(ENDED), JobRecord.completed_at <= horizon),
            ),
            ~held,
        )
        .order_by(JobRecord.id)
        .limit(limit)
    )
    return list(session.execute(statement).scalars())
