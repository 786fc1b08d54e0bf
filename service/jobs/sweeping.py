"""What the sweeper asks of the queue: tasks that want a hint, jobs whose time is over."""

from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from service.jobs.line import QUEUES, claimable, in_line, open_job
from service.jobs.records import JobRecord, TaskRecord
from service.jobs.states import COMPUTED_KINDS, ENDED, TaskStatus

HINT_REPEAT_SECONDS = 60.0


def due_hints(session: Session, now: datetime, max_attempts: int, limit: int) -> list[str]:
    """Return ids of tasks that workers may take and that no message was published about lately."""
    stale = now - timedelta(seconds=HINT_REPEAT_SECONDS)
    found: list[str] = []
    for queue in QUEUES:
        statement = (
            select(TaskRecord.id)
            .where(
                # Who fetches asks the database itself.
                in_line(COMPUTED_KINDS),
                TaskRecord.queue == queue,
                claimable(now, max_attempts),
                open_job(),
                or_(TaskRecord.hinted_at.is_(None), TaskRecord.hinted_at <= stale),
            )
            .order_by(TaskRecord.tenant_id, TaskRecord.turn, TaskRecord.job_id, TaskRecord.index)
            .limit(limit - len(found))
        )
        found.extend(session.execute(statement).scalars())
    return found


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
    # One at a time, so that each finds its index.
    conditions = [
        JobRecord.delete_requested.is_(True),
        *(
            and_(JobRecord.status == status, JobRecord.completed_at <= horizon)
            for status in sorted(ENDED)
        ),
    ]
    found: set[str] = set()
    for condition in conditions:
        statement = select(JobRecord.id).where(condition, ~held).limit(limit)
        found.update(session.execute(statement).scalars())
    return sorted(found)[:limit]
