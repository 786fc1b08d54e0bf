"""The line in which tasks wait: who is next.

Interactive jobs go before batches. Inside a queue tenants take turns: whoever has the fewest
tasks in work goes first, among equals the one who comes after the one served last, so that ten
thousand jobs of one delay another's first by a task at most. Of one tenant's tasks joins go
first, which end a job at once, then chunks of jobs that have begun, then whatever begins a job,
each from the oldest job on.

A chunk waits while the same one, of the same bytes by the same recipe, is in work for another
job: afterwards its features are found in the store. The database itself refuses two of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from service.jobs import arithmetic
from service.jobs.records import JobRecord, TaskRecord
from service.jobs.states import COMPUTED_KINDS, ENDED, JobQueue, TaskKind, TaskStatus

QUEUES = (JobQueue.INTERACTIVE, JobQueue.BATCH)

# Put together once: building them takes longer than the database takes to answer.
_OTHER = aliased(TaskRecord)
_IN_WORK_ELSEWHERE = (
    exists()
    .where(
        _OTHER.status == literal(str(TaskStatus.LEASED), literal_execute=True),
        _OTHER.content == TaskRecord.content,
        _OTHER.index == TaskRecord.index,
        _OTHER.id != TaskRecord.id,
    )
    .correlate(TaskRecord)
)
_OPEN_JOB = (
    exists()
    .where(
        JobRecord.id == TaskRecord.job_id,
        JobRecord.status.not_in(ENDED),
        JobRecord.cancel_requested.is_(False),
    )
    .correlate(TaskRecord)
)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Who asks for which task, when, and until when it will hold it.

    Attributes:
        owner: who asks.
        task_id: None asks for the next in line.
        max_attempts: of a task.
        kinds: only tasks of these are given: all that are computed, or fetches alone.
        served: the tenant this asker worked for last; None if it does not know.
    """

    owner: str
    task_id: str | None
    now: datetime
    lease_until: datetime
    max_attempts: int
    kinds: Sequence[TaskKind] = COMPUTED_KINDS
    served: str | None = None


def has_status(status: TaskStatus) -> ColumnElement[bool]:
    """Return the condition that a task has this status, as the partial indexes have it.

    Written into the statement: of a parameter SQLite could not tell that the index covers it.
    """
    return TaskRecord.status == literal(str(status), literal_execute=True)


def claimable(now: datetime, max_attempts: int) -> ColumnElement[bool]:
    """Return the condition under which a task, whose job is open, may be taken."""
    return and_(
        or_(
            and_(TaskRecord.status == TaskStatus.READY, TaskRecord.run_after <= now),
            and_(TaskRecord.status == TaskStatus.LEASED, TaskRecord.lease_until <= now),
        ),
        TaskRecord.attempts < max_attempts,
    )


def open_job() -> ColumnElement[bool]:
    """Return the condition under which the tasks of a job may be taken."""
    return _OPEN_JOB


def takeable(request: ClaimRequest) -> ColumnElement[bool]:
    """Return the condition under which this asker may take a task."""
    conditions = [
        claimable(request.now, request.max_attempts),
        TaskRecord.kind.in_(request.kinds),
    ]
    if TaskKind.CHUNK in request.kinds:
        conditions += [arithmetic.may_take(request.owner, request.now), ~_IN_WORK_ELSEWHERE]
    return and_(*conditions)


def next_job(session: Session, request: ClaimRequest, tried: Sequence[str]) -> str | None:
    """Return the job whose task is next in line for this asker; None if there is none.

    Args:
        session: open.
        request: of the asker.
        tried: jobs that were found to have none after all.
    """
    if request.task_id is not None:
        return _first(session, request, tried, TaskRecord.id == request.task_id)
    # Somebody died over these: they were in work already and go on before anything is begun.
    overdue = and_(has_status(TaskStatus.LEASED), TaskRecord.lease_until <= request.now)
    found = _first(session, request, tried, overdue)
    for queue in QUEUES:
        if found is not None:
            break
        found = _first_of_queue(session, request, tried, queue)
    return found


def anything_waits(session: Session, request: ClaimRequest) -> bool:
    """Return whether there is a task that this asker could take now."""
    return next_job(session, request, ()) is not None


def _first_of_queue(
    session: Session, request: ClaimRequest, tried: Sequence[str], queue: JobQueue
) -> str | None:
    for tenant_id in _tenants_in_turn(session, request, queue):
        place = and_(
            in_line(request.kinds),
            TaskRecord.queue == queue,
            TaskRecord.tenant_id == tenant_id,
        )
        found = _first(session, request, tried, place)
        if found is not None:
            return found
    return None


def _first(
    session: Session, request: ClaimRequest, tried: Sequence[str], place: ColumnElement[bool]
) -> str | None:
    statement = (
        select(TaskRecord.job_id)
        .where(place, takeable(request), open_job())
        .order_by(TaskRecord.turn, TaskRecord.job_id, TaskRecord.index)
        .limit(1)
    )
    if tried:
        statement = statement.where(TaskRecord.job_id.not_in(tried))
    return session.execute(statement).scalar_one_or_none()


def _tenants_in_turn(session: Session, request: ClaimRequest, queue: JobQueue) -> list[str]:
    """Return the tenants who wait in a queue, whoever is to be served first foremost."""
    place = and_(in_line(request.kinds), TaskRecord.queue == queue)
    # Hops from tenant to tenant through the index, however many tasks each of them has.
    first = select(func.min(TaskRecord.tenant_id).label("tenant_id")).where(place)
    hops = first.cte("waiting", recursive=True)
    onward = (
        select(func.min(TaskRecord.tenant_id))
        .where(place, TaskRecord.tenant_id > hops.c.tenant_id)
        .scalar_subquery()
    )
    hops = hops.union_all(select(onward).where(hops.c.tenant_id.is_not(None)))
    waiting = session.execute(
        select(hops.c.tenant_id).where(hops.c.tenant_id.is_not(None))
    ).scalars()
    waiting_ids = sorted(waiting)
    if len(waiting_ids) <= 1:
        return waiting_ids
    counted = session.execute(
        select(TaskRecord.tenant_id, func.count())
        .where(has_status(TaskStatus.LEASED), TaskRecord.kind.in_(request.kinds))
        .group_by(TaskRecord.tenant_id)
    )
    in_work = {tenant_id: count for tenant_id, count in counted}  # noqa: C416 - rows are no pairs
    served = request.served or ""
    return sorted(waiting_ids, key=lambda one: (in_work.get(one, 0), one <= served, one))


def in_line(kinds: Sequence[TaskKind]) -> ColumnElement[bool]:
    """Return the condition that a task waits, in the line of fetches or in that of all others."""
    fetch = literal(str(TaskKind.FETCH), literal_execute=True)
    fetches = TaskKind.FETCH in kinds
    return and_(
        has_status(TaskStatus.READY),
        TaskRecord.kind == fetch if fetches else TaskRecord.kind != fetch,
    )
