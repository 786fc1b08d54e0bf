"""Reading events: every one, in the order of their ids, however their transactions commit.

Ids are given out when an event is written, but seen when its transaction commits. On PostgreSQL
two transactions may commit in the other order, so that a reader who has seen 6 may find 5 later.
`EventTail` therefore holds back whatever comes after a missing id until every transaction that
ran when the gap was noticed is over: then the id is there, or will never be. On SQLite writers
take turns, and there is nothing to wait for.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, String, cast, exists, func, select
from sqlalchemy.orm import Session

from service.jobs.commands import JobCore
from service.jobs.records import EventRecord, JobRecord
from service.jobs.states import JobKind, JobStatus
from service.jobs.store import reading

PUBLIC_DETAILS: Mapping[str, frozenset[str]] = {
    "job.queued": frozenset(),
    "job.processing": frozenset(),
    "job.cancel_requested": frozenset(),
    "job.succeeded": frozenset(),
    "job.failed": frozenset({"code"}),
    "job.canceled": frozenset(),
    "chunk.done": frozenset({"index", "computed"}),
}
"""The events about jobs that users see, and what of their details; the rest is the operator's."""

BATCH_EVENTS = "batch."
"""Events about batches all begin like this, and are shown as they are."""

FINAL_EVENTS = frozenset({"job.succeeded", "job.failed", "job.canceled"})
"""After one of these a job has no further event."""

GAP_SECONDS = 60.0
"""A gap is given up after this, whatever foreign transactions run: ours end sooner, because
`service.jobs.store` bounds their statements and their idling."""

READ_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """One event as users may see it; of job or batch, exactly one is named."""

    id: int
    tenant_id: str
    job_id: str | None
    batch_id: str | None
    type: str
    details: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is that somebody works on."""

    job_id: str
    tenant_id: str
    status: str
    stage: str | None
    progress: float
    eta_seconds: float | None


@dataclass(slots=True)
class IdOrder:
    """Decides which ids are final: nothing that comes before them can turn up later.

    Transactions are numbered in the order in which they begin to write. "oldest" is the lowest
    number that still runs, looked up before the ids were read.

    Attributes:
        position: every id up to it was admitted or will never be seen.
    """

    position: int
    clock: Callable[[], float] = time.monotonic
    _settled: int = 0
    _gap_until: int | None = None
    _gap_next: int = 0
    _gap_noticed: float = 0.0

    def admit(self, ids: Sequence[int], oldest: int) -> int:
        """Return how many of the ascending ids, the lowest above the position, are final."""
        self._settle(oldest)
        admitted = 0
        for number in ids:
            if number > self._settled:
                self.position = max(self.position, self._settled)
                if number != self.position + 1:
                    break
            self.position = number
            admitted += 1
        return admitted

    def doubt(self, until: int, next_number: int) -> None:
        """Note that ids up to ``until`` may be missing while transactions below a number run."""
        self._gap_until, self._gap_next = until, next_number
        self._gap_noticed = self.clock()

    @property
    def doubts(self) -> bool:
        """Whether something may be missing."""
        return self._gap_until is not None

    def _settle(self, oldest: int) -> None:
        if self._gap_until is None:
            return
        if oldest >= self._gap_next or self.clock() - self._gap_noticed >= GAP_SECONDS:
            self._settled, self._gap_until = self._gap_until, None


class EventTail:
    """Follows the events of all tenants; one caller.

    Args:
        core: of all tenants.
        clock: seconds, for tests.
        after: a position that an earlier tail had; None begins at the present.
    """

    def __init__(
        self,
        core: JobCore,
        clock: Callable[[], float] = time.monotonic,
        *,
        after: int | None = None,
    ) -> None:
        self._engine = core.engine
        self._serial = core.engine.dialect.name != "postgresql"
        self._clock = clock
        # Whatever had an id up to a position was returned, or will never be seen.
        self._order = None if after is None else IdOrder(after, clock)
        self._ready = after is not None
        self._more = False

    @property
    def more(self) -> bool:
        """Whether the last call stopped at its limit."""
        return self._more

    @property
    def position(self) -> int | None:
        """The id up to which everything was returned, or happened before; None: not known yet."""
        return self._order.position if self._order is not None and self._ready else None

    def read(self) -> list[Event]:
        """Return the events that became final since the last call, those of batches included.

        The first calls return none: they find out where the present is.

        Raises:
            DatabaseUnavailable: the database did not answer.
        """
        before = self._order.position if self._order is not None else None
        try:
            return self._read()
        except BaseException:
            # What was read but not returned is read again.
            if self._order is not None and before is not None:
                self._order.position = before
            raise

    def _read(self) -> list[Event]:
        with reading(self._engine) as session:
            order = self._order or self._present(session)
            oldest = 0 if self._serial else _oldest_transaction(session)
            if not self._ready:
                order.admit((), oldest)
                self._ready = not order.doubts
                return []
            rows = list(session.execute(_select_after(order.position).limit(READ_LIMIT)))
            self._more = len(rows) == READ_LIMIT
            if not rows:
                return []
            if self._serial:
                order.position = rows[-1].id
                return visible(rows)
            count = order.admit([row.id for row in rows], oldest)
            if count < len(rows) and not order.doubts:
                order.doubt(rows[-1].id, _next_transaction(session))
        return visible(rows[:count])

    def _present(self, session: Session) -> IdOrder:
        newest = session.execute(select(func.max(EventRecord.id))).scalar() or 0
        self._order = IdOrder(newest, self._clock)
        if not self._serial:
            self._order.doubt(newest, _next_transaction(session))
        return self._order


def replay(
    session: Session, *, after: int, until: int, job_id: str | None, limit: int = READ_LIMIT
) -> tuple[list[Event], int]:
    """Return events with ids in (after, until], in order, of a tenant or one of its jobs.

    Args:
        session: bound to the tenant.
        after: the last id that is known already.
        until: a position of an `EventTail`.
        job_id: of a job that the tenant can see; None for everything of the tenant.
        limit: how many rows are looked at.

    Returns:
        The events, and the id from which to go on; equal to ``until`` when these were all.
    """
    statement = _select_after(after).where(EventRecord.id <= until).limit(limit)
    if job_id is not None:
        statement = statement.where(EventRecord.job_id == job_id)
    rows = list(session.execute(statement))
    return visible(rows), rows[-1].id if len(rows) == limit else until


def has_news(session: Session, job_id: str, after: int) -> bool:
    """Return whether a job has an event that users see with an id above this one."""
    statement = select(
        exists().where(
            EventRecord.job_id == job_id,
            EventRecord.id > after,
            EventRecord.type.in_(list(PUBLIC_DETAILS)),
        )
    )
    return bool(session.execute(statement).scalar())


def all_progress(session: Session) -> list[JobProgress]:
    """Return the progress of every job that is being worked on: a handful, one per worker."""
    statement = select(
        JobRecord.id,
        JobRecord.tenant_id,
        JobRecord.status,
        JobRecord.stage,
        JobRecord.progress,
        JobRecord.eta_seconds,
    ).where(
        JobRecord.status == JobStatus.PROCESSING,
        JobRecord.kind == JobKind.LOCALIZE,
        JobRecord.delete_requested.is_(False),
    )
    return [JobProgress(*row) for row in session.execute(statement)]


def existing_jobs(session: Session, job_ids: Iterable[str]) -> set[str]:
    """Return those of the ids that users can still see."""
    statement = select(JobRecord.id).where(
        JobRecord.id.in_(list(job_ids)), JobRecord.delete_requested.is_(False)
    )
    return set(session.execute(statement).scalars())


def visible(rows: Iterable[Row[Any]]) -> list[Event]:
    """Return what users see of these rows: no probes, none of the operator's details."""
    events = []
    for row in rows:
        if row.kind == JobKind.PROBE:
            continue
        if row.job_id is None:
            shown: Mapping[str, Any] = row.details if row.type.startswith(BATCH_EVENTS) else {}
        elif (public := PUBLIC_DETAILS.get(row.type)) is not None:
            shown = {name: row.details[name] for name in public if name in row.details}
        else:
            continue
        events.append(
            Event(
                row.id, row.tenant_id, row.job_id, row.batch_id, row.type, dict(shown),
                row.created_at,
            )
        )  # fmt: skip
    return events


def _select_after(after: int) -> Select[Any]:
    return (
        select(
            EventRecord.id,
            EventRecord.tenant_id,
            EventRecord.job_id,
            EventRecord.batch_id,
            EventRecord.type,
            EventRecord.details,
            EventRecord.created_at,
            JobRecord.kind,
        )
        .outerjoin(JobRecord, JobRecord.id == EventRecord.job_id)
        .where(EventRecord.id > after)
        .order_by(EventRecord.id)
    )


def _oldest_transaction(session: Session) -> int:
    # Source: PostgreSQL manual, 9.27.9: xmin is the lowest transaction ID still active; all lower
    # ones are either committed and visible, or rolled back and dead.
    return _number(session, func.pg_snapshot_xmin(func.pg_current_snapshot()))


def _next_transaction(session: Session) -> int:
    # Asking gives this very transaction a number, higher than all that were given out before. The
    # snapshot's xmax would not do: it is one past the highest *completed* one.
    return _number(session, func.pg_current_xact_id())


def _number(session: Session, transaction: ColumnElement[Any]) -> int:
    # The type xid8 has no cast to a number, but one to text.
    found: int = session.execute(select(cast(cast(transaction, String), BigInteger))).scalar_one()
    return found
