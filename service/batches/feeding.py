"""Brings batches on: prepares them, makes their jobs bit by bit, takes note of what has ended.

A few hundred jobs of a batch are open at a time, so that the queue stays short whatever a batch
holds. Every step reads what is and makes it more right; a crash between any two statements
leaves something from which the next turn goes on, and two sweepers do no harm to each other.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from service.batches.commands import lock_batch, stop_items, unfinished_items
from service.batches.ending import end_batch
from service.batches.expanding import prepare_batch
from service.batches.making import fail_item, make_jobs
from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import BATCH_ENDED, BatchStatus, ItemKind, ItemStatus
from service.errors import OutageError
from service.jobs.commands import JobCore
from service.jobs.records import EventRecord, JobRecord, TenantRecord, VideoRecord
from service.jobs.removal import Rubbish, drop_unwanted_video, throw_away
from service.jobs.states import ENDED, JobKind, JobStatus
from service.jobs.store import reading, transaction
from service.settings import Settings

DAY_SECONDS = 86400.0
JOBS_PER_TRANSACTION = 50
ENDS_PER_TRANSACTION = 500
REMOVED_PER_TRANSACTION = 5000
GIVE_WAY_SECONDS = 0.025
"""After each step on SQLite, where who waits for the one writer looks only now and then, every 1
to 100 ms: without it, others wait for seconds (bench.service_batch). Source: sqlite3.c,
sqliteDefaultBusyCallback."""

STEPS_PER_TURN = 20
"""Of each kind, then it is the next batch's turn."""

JOB_DELETED_CODE = "job_not_found"
UNFINISHED = (JobStatus.QUEUED, JobStatus.PROCESSING)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """How batches are fed.

    Attributes:
        open_jobs: of one batch at a time.
        path_roots: below which items may be named by path.
        retention_days: ended batches are deleted after it.
        max_member_bytes: larger members of archives are refused.
    """

    open_jobs: int = 200
    path_roots: tuple[str, ...] = ()
    retention_days: float = 30.0
    max_member_bytes: int = 16 * 1024**3

    @classmethod
    def of(cls, settings: Settings) -> "FeedLimits":
        """Return the limits of a deployment."""
        return cls(
            path_roots=settings.path_roots,
            retention_days=settings.retention_days,
            max_member_bytes=settings.max_upload_bytes,
        )


def feed_batches(core: JobCore, limits: FeedLimits) -> int:
    """Do whatever is due for all batches of all tenants; return how many items moved.

    Raises:
        OutageError: database or storage gave out; the next turn goes on.
    """
    moved = 0
    for batch_id, tenant_id in _active(core):
        try:
            moved += _Feeding(core.for_tenant(tenant_id), batch_id, limits).turn()
        except (OutageError, OSError):
            raise
        except Exception:  # noqa: BLE001 - a bug that one batch meets must not stop all others
            _log.exception("batch_failed", batch_id=batch_id)
    remove_batches(core, limits.retention_days)
    return moved


def _active(core: JobCore) -> list[tuple[str, str]]:
    with reading(core.engine) as session:
        rows = session.execute(
            select(BatchRecord.id, BatchRecord.tenant_id)
            .where(
                BatchRecord.status.in_([BatchStatus.PREPARING, BatchStatus.PROCESSING]),
                BatchRecord.delete_requested.is_(False),
            )
            .order_by(BatchRecord.id)
        )
        return [(row.id, row.tenant_id) for row in rows]


class _Feeding:
    """One turn for one batch; the core is bound to its tenant."""

    def __init__(self, core: JobCore, batch_id: str, limits: FeedLimits) -> None:
        self._core = core
        self._batch_id = batch_id
        self._limits = limits

    def turn(self) -> int:
        """Prepare, note ends, make jobs, finish: each where it is due."""
        limits = self._limits
        moved = prepare_batch(
            self._core, self._batch_id, limits.path_roots, limits.max_member_bytes
        )
        for step in (self._note_ends, self._make_jobs):
            for _ in range(STEPS_PER_TURN):
                count = step()
                moved += count
                if count == 0:
                    break
                if self._core.engine.dialect.name == "sqlite":
                    time.sleep(GIVE_WAY_SECONDS)
        self._finish()
        return moved

    def _note_ends(self) -> int:
        with reading(self._core.engine) as session:
            # Looking takes no write lock, and mostly there is nothing to do.
            if not self._ends(session, 1):
                return 0
        with transaction(self._core.engine) as session:
            if lock_batch(session, self._batch_id) is None:
                return 0
            now = self._core.clock.now(session)
            rows = self._ends(session, ENDS_PER_TRANSACTION)
            for row in rows:
                row.note(now)
        return len(rows)

    def _ends(self, session: Session, limit: int) -> Sequence["_Ended"]:
        """Return open items whose job has ended or is gone."""
        rows = session.execute(
            select(
                BatchItemRecord,
                JobRecord.status,
                JobRecord.error_code,
                JobRecord.error_message,
                JobRecord.delete_requested,
                VideoRecord.size_bytes,
            )
            .outerjoin(JobRecord, JobRecord.id == BatchItemRecord.job_id)
            .outerjoin(VideoRecord, VideoRecord.id == JobRecord.video_id)
            .where(
                BatchItemRecord.batch_id == self._batch_id,
                BatchItemRecord.status == ItemStatus.OPEN,
                or_(
                    JobRecord.id.is_(None),
                    JobRecord.status.in_(ENDED),
                    JobRecord.delete_requested.is_(True),
                ),
            )
            .limit(limit)
        )
        return [_Ended(*row) for row in rows]

    def _make_jobs(self) -> int:
        with reading(self._core.engine) as session:
            batch = session.get(BatchRecord, self._batch_id)
            if batch is None or not _is_fed(batch) or not self._waiting(session, 1):
                return 0
            room = min(self._room(session), JOBS_PER_TRANSACTION)
        if room <= 0:
            return 0
        with transaction(self._core.engine) as session:
            locked = lock_batch(session, self._batch_id)
            if locked is None or not _is_fed(locked):
                return 0
            now = self._core.clock.now(session)
            items = self._waiting(session, room)
            make_jobs(session, locked, items, self._limits.path_roots, now)
        return len(items)

    def _waiting(self, session: Session, limit: int) -> list[BatchItemRecord]:
        """Return items that can have a job at once; members are unpacked before."""
        return list(
            session.execute(
                select(BatchItemRecord)
                .where(
                    BatchItemRecord.batch_id == self._batch_id,
                    BatchItemRecord.status == ItemStatus.WAITING,
                    or_(
                        BatchItemRecord.kind != ItemKind.MEMBER,
                        BatchItemRecord.video_id.is_not(None),
                    ),
                )
                .order_by(BatchItemRecord.id)
                .limit(limit)
            ).scalars()
        )

    def _room(self, session: Session) -> int:
        """Return how many more jobs may be open: of this batch, and of its tenant."""
        room = self._limits.open_jobs - num_open(session, self._batch_id)
        left = jobs_left(session, self._core)
        return room if left is None else min(room, left)

    def _finish(self) -> None:
        with reading(self._core.engine) as session:
            batch = session.get(BatchRecord, self._batch_id)
            due = batch is not None and batch.status in {
                BatchStatus.PROCESSING,
                BatchStatus.PREPARING,
            }
            if batch is None or not due or unfinished_items(session, self._batch_id):
                return
            if batch.status == BatchStatus.PREPARING and not batch.cancel_requested:
                return
        with transaction(self._core.engine) as session:
            locked = lock_batch(session, self._batch_id)
            if locked is None or locked.status in BATCH_ENDED:
                return
            if unfinished_items(session, self._batch_id):
                return
            end_batch(session, locked, self._core.clock.now(session))


@dataclass(frozen=True, slots=True)
class _Ended:
    """An open item whose job came to an end; ``status`` None where the job is gone."""

    item: BatchItemRecord
    status: str | None
    error_code: str | None
    error_message: str | None
    deleted: bool | None
    size_bytes: int | None

    def note(self, now: datetime) -> None:
        """Write the end into the item's row."""
        if self.status is None or self.deleted:
            message = "The job was deleted before its end was noticed here; retry the batch."
            fail_item(self.item, JOB_DELETED_CODE, message, now)
            return
        self.item.status = self.status
        self.item.error_code, self.item.error_message = self.error_code, self.error_message
        self.item.ended_at = now
        if self.size_bytes is not None:
            self.item.size_bytes = self.size_bytes


def _is_fed(batch: BatchRecord) -> bool:
    return batch.status == BatchStatus.PROCESSING and not batch.cancel_requested


def num_open(session: Session, batch_id: str) -> int:
    """Return how many jobs of a batch are open or about to be."""
    return session.execute(
        select(func.count())
        .select_from(BatchItemRecord)
        .where(
            BatchItemRecord.batch_id == batch_id,
            BatchItemRecord.status.in_([ItemStatus.OPEN, ItemStatus.TAKEN]),
        )
    ).scalar_one()


def jobs_left(session: Session, core: JobCore) -> int | None:
    """Return how many jobs the core's tenant may still queue; None where nothing limits it."""
    tenant = session.get_one(TenantRecord, core.tenant_id)
    allowed = core.quotas.changed_by(tenant.quotas).queued_jobs
    if allowed is None:
        return None
    used = session.execute(
        select(func.count())
        .select_from(JobRecord)
        .where(
            JobRecord.tenant_id == core.tenant_id,
            JobRecord.status.in_(UNFINISHED),
            JobRecord.kind == JobKind.LOCALIZE,
        )
    ).scalar_one()
    return max(0, allowed - used)


def remove_batches(core: JobCore, retention_days: float) -> int:
    """Remove the rows of batches that were deleted or are past their retention; return how many.

    Their jobs go by their own retention, or were marked when the batch was deleted.
    """
    with reading(core.engine) as session:
        horizon = core.clock.now(session) - timedelta(seconds=retention_days * DAY_SECONDS)
        due = list(
            session.execute(
                select(BatchRecord.id).where(
                    or_(
                        BatchRecord.delete_requested.is_(True),
                        BatchRecord.completed_at <= horizon,
                    )
                )
            ).scalars()
        )
    return sum(_remove(core, batch_id) for batch_id in due)


def _remove(core: JobCore, batch_id: str) -> bool:
    while True:
        with transaction(core.engine) as session:
            batch = lock_batch(session, batch_id)
            if batch is None:
                return False
            if batch.status not in BATCH_ENDED:
                stop_items(session, core, batch)
            ids = select(BatchItemRecord.id).where(BatchItemRecord.batch_id == batch_id)
            block = list(session.execute(ids.limit(REMOVED_PER_TRANSACTION)).scalars())
            if block:
                session.execute(
                    delete(BatchItemRecord)
                    .where(
                        BatchItemRecord.batch_id == batch_id,
                        BatchItemRecord.id >= min(block),
                        BatchItemRecord.id <= max(block),
                    )
                    .execution_options(synchronize_session=False)
                )
                continue
            session.execute(
                delete(EventRecord)
                .where(EventRecord.batch_id == batch_id)
                .execution_options(synchronize_session=False)
            )
            reference = batch.source_ref or {}
            session.delete(batch)
            session.flush()
            # An archive that came with its batch is of no use without it, and nobody else's.
            owned = reference.get("video_id") if reference.get("owned") else None
            rubbish = drop_unwanted_video(session, owned) if owned is not None else Rubbish()
        break
    throw_away(core, rubbish)
    _log.info("batch_removed", batch_id=batch_id)
    return True
