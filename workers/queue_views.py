"""What a supervisor may know of the queue without claiming anything: two small read-only looks.

They only decide whether to wake or to kill a child; the claim and the fencing token decide the
rest, so an answer that is out of date a moment later does no harm.
"""

from sqlalchemy import Engine, select

from service.jobs.line import ClaimRequest, anything_waits
from service.jobs.queue import MAX_ATTEMPTS
from service.jobs.records import JobRecord, TaskRecord
from service.jobs.states import TaskStatus
from service.jobs.store import Clock, reading


def has_claimable_task(engine: Engine, clock: Clock, owner: str) -> bool:
    """Return whether some task that this owner may take waits for a worker right now."""
    with reading(engine) as session:
        now = clock.now(session)
        return anything_waits(session, ClaimRequest(owner, None, now, now, MAX_ATTEMPTS))


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
    return bool(row.token != token or row.status != TaskStatus.LEASED or row.cancel_requested)
