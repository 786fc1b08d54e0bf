"""What a supervisor may know of the queue without claiming anything: two small read-only looks.

They only decide whether to wake or to kill a child; the claim and the fencing token decide the
rest, so an answer that is out of date a moment later does no harm.
"""

from sqlalchemy import Engine, and_, or_, select

from service.jobs.records import JobRecord, TaskRecord
from service.jobs.states import ENDED, TaskStatus
from service.jobs.store import Clock, reading


def has_claimable_task(engine: Engine, clock: Clock) -> bool:
    """Return whether some task waits for a worker right now."""
    with reading(engine) as session:
        now = clock.now(session)
        waiting = and_(TaskRecord.status == TaskStatus.READY, TaskRecord.run_after <= now)
        expired = and_(TaskRecord.status == TaskStatus.LEASED, TaskRecord.lease_until <= now)
        statement = (
            select(TaskRecord.id)
            .join(JobRecord, JobRecord.id == TaskRecord.job_id)
            .where(or_(waiting, expired))
            .where(JobRecord.status.not_in(ENDED), JobRecord.cancel_requested.is_(False))
            .limit(1)
        )
        return session.execute(statement).first() is not None


def is_unwanted(engine: Engine, task_id: str, token: int) -> bool:
    """Return whether nobody wants a claim's work any more: canceled, or the lease went on."""
    with reading(engine) as session:
        statement = (
            select(TaskRecord.token, TaskRecord.status, JobRecord.cancel_requested)
            .join(JobRecord, JobRecord.id == TaskRecord.job_id)
            .where(TaskRecord.id == task_id)
        )
        row = session.execute(statement).one_or_none()
    if row is None:
        return True
    return row.token != token or row.status != TaskStatus.LEASED or row.cancel_requested
