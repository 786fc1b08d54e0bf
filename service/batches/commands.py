"""What users do with batches: make, cancel, retry, delete. Looking at them is `views`.

Nothing here waits for work: rows say what is wanted, and `service.batches.feeding` makes it so.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.accounts.quotas import hold_quota_bytes
from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import (
    BATCH_ENDED,
    UNFINISHED_ITEMS,
    BatchSource,
    BatchStatus,
    ItemKind,
    ItemStatus,
)
from service.errors import (
    BatchNotFound,
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidRequest,
    InvalidTransition,
)
from service.jobs import lifecycle
from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.states import ENDED, JobQueue
from service.jobs.store import new_id, reading, transaction
from service.jobs.videos import NewVideo, insert_video, may_be_known

MAX_ITEMS = 100_000
INSERT_ROWS = 5000
LOOK_UP_ROWS = 500
"""Fewer than the parameters that a statement may have in any database."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """One video of a new batch.

    Attributes:
        name: for people and in combined results; made unique in the batch.
        source: URL, absolute path, or position in the archive; None for a video.
        video_id: of a video that is there; None for others.
    """

    name: str
    kind: ItemKind
    source: str | None = None
    video_id: str | None = None
    tag: str | None = None
    camera: str | None = None
    recorded_at: datetime | None = None
    size_bytes: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A request for a batch.

    Attributes:
        model: NAME@VERSION[:SPEED].
        items: of a batch that lists them; empty where ``source`` says where to look for them.
        source_ref: of a folder {path, pattern}, of an archive {video_id, owned}.
        archive: the archive that came with the request; its blob is stored already.
        recipe: digest of the model's recipe, where it is known.
        webhook: {url, events, labels, min_score, secret}.
    """

    model: str
    items: tuple[NewItem, ...] = ()
    source: BatchSource = BatchSource.ITEMS
    source_ref: dict[str, Any] | None = None
    archive: NewVideo | None = None
    options: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    name: str | None = None
    tag: str | None = None
    camera: str | None = None
    queue: str = JobQueue.BATCH
    webhook: dict[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def digest(self) -> str:
        """Hash of what makes two requests the same: of an archive its bytes, not where they are."""
        place: object = self.source_ref
        if self.archive is not None and self.archive.content is not None:
            place = self.archive.content.sha256
        asked = [
            self.model, self.source, place, self.options, self.name, self.tag, self.camera,
            self.queue, self.webhook,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode())
        for item in self.items:
            digest.update(json.dumps(asdict(item), sort_keys=True, default=str).encode())
        return digest.hexdigest()


def create_batch(core: JobCore, new: NewBatch) -> tuple[str, bool]:
    """Make a batch with all its items; a repeated idempotency key returns the one made before.

    Args:
        core: bound to the tenant.
        new: what is asked for.

    A blob that came with it and is not needed is deleted.

    Returns:
        The batch's id, and whether it is new.

    Raises:
        IdempotencyConflict: the key was used for another request.
        InvalidRequest: an item names a video that is not there, or there are too many.
        BytesQuotaExceeded: the archive is more than the tenant may store.
    """
    if len(new.items) > MAX_ITEMS:
        message = f"A batch holds at most {MAX_ITEMS} items; split this one."
        raise InvalidRequest(message)
    used = False
    try:
        known = find_repeated(core, new.idempotency_key, new.digest)
        if known is not None:
            return known, False
        try:
            batch_id, used = _insert(core, new)
        except IntegrityError:
            # Two requests with one key at the same moment: the other one made the batch.
            known = find_repeated(core, new.idempotency_key, new.digest)
            if known is None:
                raise
            return known, False
    except DatabaseUnavailable:
        content = new.archive.content if new.archive is not None else None
        used = content is not None and may_be_known(core.engine, content)
        raise
    else:
        return batch_id, True
    finally:
        if not used and new.archive is not None and new.archive.content is not None:
            core.blobs.delete(new.archive.content.blob_key)


def find_repeated(core: JobCore, idempotency_key: str | None, digest: str) -> str | None:
    """Return the batch that a request with this key made before.

    Raises:
        IdempotencyConflict: that was another request.
    """
    if idempotency_key is None:
        return None
    with reading(core.engine) as session:
        batch = session.execute(
            select(BatchRecord).where(
                BatchRecord.tenant_id == core.tenant_id,
                BatchRecord.idempotency_key == idempotency_key,
            )
        ).scalar_one_or_none()
    if batch is None:
        return None
    if batch.request_digest != digest or batch.delete_requested:
        message = "This Idempotency-Key was used for another request; use a fresh one."
        raise IdempotencyConflict(message)
    return batch.id


def visible_batch(session: Session, batch_id: str) -> BatchRecord:
    """Return a batch; on a bound session only its tenant's.

    Raises:
        BatchNotFound: there is none.
    """
    batch = session.get(BatchRecord, batch_id)
    if batch is None or batch.delete_requested:
        message = f"There is no batch {batch_id}; it may have been deleted, or its time is over."
        raise BatchNotFound(message)
    return batch


def lock_batch(session: Session, batch_id: str) -> BatchRecord | None:
    """Return a batch's row, locked until the transaction ends."""
    return session.get(BatchRecord, batch_id, with_for_update=True, populate_existing=True)


def insert_items(session: Session, batch: BatchRecord, items: Iterable[NewItem]) -> int:
    """Insert the items of a batch in their order, each under a name of its own; return how many.

    Items that come with an error have failed already.
    """
    now = batch.created_at
    rows = (
        {
            "batch_id": batch.id,
            "position": position,
            "name": name,
            "kind": item.kind,
            "source": item.source,
            "video_id": item.video_id,
            "status": ItemStatus.WAITING if item.error_code is None else ItemStatus.FAILED,
            "tag": item.tag,
            "camera": item.camera,
            "recorded_at": item.recorded_at,
            "size_bytes": item.size_bytes,
            "error_code": item.error_code,
            "error_message": item.error_message,
            "ended_at": None if item.error_code is None else now,
        }
        for position, (item, name) in enumerate(_uniquely_named(items))
    )
    count = 0
    while block := list(islice(rows, INSERT_ROWS)):
        session.execute(insert(BatchItemRecord), block)
        count += len(block)
    batch.num_items = count
    return count


def cancel_batch(core: JobCore, batch_id: str) -> None:
    """Stop a batch: nothing more is begun, what is under way stops at the next chunk.

    Raises:
        BatchNotFound: there is none.
        InvalidTransition: it has finished.
    """
    with transaction(core.engine) as session:
        visible_batch(session, batch_id)
        batch = _locked(session, batch_id)
        if batch.status == BatchStatus.CANCELED:
            return
        if batch.status in BATCH_ENDED:
            message = (
                f"The batch has {batch.status} already; only an unfinished one can be canceled."
            )
            raise InvalidTransition(message)
        batch.cancel_requested = True
        stop_items(session, core, batch)


def stop_items(session: Session, core: JobCore, batch: BatchRecord) -> None:
    """Cancel a locked batch's waiting items, and ask its open jobs to stop."""
    now = core.clock.now(session)
    session.execute(
        update(BatchItemRecord)
        .where(
            BatchItemRecord.batch_id == batch.id,
            BatchItemRecord.status.in_([ItemStatus.WAITING, ItemStatus.TAKEN]),
        )
        .values(status=ItemStatus.CANCELED, ended_at=now, taken_by=None, taken_until=None)
        .execution_options(synchronize_session=False)
    )
    open_jobs = session.execute(
        select(BatchItemRecord.job_id)
        .where(BatchItemRecord.batch_id == batch.id, BatchItemRecord.status == ItemStatus.OPEN)
        .order_by(BatchItemRecord.id)
    ).scalars()
    for job_id in list(open_jobs):
        job = lifecycle.lock_job(session, job_id) if job_id is not None else None
        if job is not None and job.status not in ENDED:
            lifecycle.request_stop(session, job, now)


def retry_batch(core: JobCore, batch_id: str) -> int:
    """Try again what failed or was canceled; return how many items that is.

    Raises:
        BatchNotFound: there is none.
        InvalidTransition: nothing failed, or the batch is being canceled.
    """
    with transaction(core.engine) as session:
        visible_batch(session, batch_id)
        batch = _locked(session, batch_id)
        if batch.cancel_requested and batch.status not in BATCH_ENDED:
            message = "The batch is being canceled; retry it when it is canceled."
            raise InvalidTransition(message)
        if batch.status == BatchStatus.FAILED:
            batch.error_code = batch.error_message = None
            _reopen(batch, BatchStatus.PREPARING)
            return 0
        count = session.execute(
            select(func.count())
            .select_from(BatchItemRecord)
            .where(BatchItemRecord.batch_id == batch.id, _ended_badly())
        ).scalar_one()
        if count == 0:
            message = "Nothing of this batch has failed or was canceled; there is nothing to retry."
            raise InvalidTransition(message)
        session.execute(
            update(BatchItemRecord)
            .where(BatchItemRecord.batch_id == batch.id, _ended_badly())
            .values(status=ItemStatus.WAITING, error_code=None, error_message=None, ended_at=None)
            .execution_options(synchronize_session=False)
        )
        _reopen(batch, BatchStatus.PROCESSING)
        return count


def delete_batch(core: JobCore, batch_id: str) -> None:
    """Delete a batch with the jobs that it made; to users all of it is gone at once.

    The rest follows in the background: jobs as `service.jobs.removal` says, and the rows.

    Raises:
        BatchNotFound: there is none.
    """
    with transaction(core.engine) as session:
        visible_batch(session, batch_id)
        batch = _locked(session, batch_id)
        stop_items(session, core, batch)
        batch.delete_requested = batch.cancel_requested = True
        made = select(BatchItemRecord.job_id).where(
            BatchItemRecord.batch_id == batch.id,
            BatchItemRecord.job_id.is_not(None),
            BatchItemRecord.reused.is_(False),
        )
        session.flush()
        session.execute(
            update(JobRecord)
            .where(JobRecord.id.in_(made))
            .values(delete_requested=True)
            .execution_options(synchronize_session=False)
        )
        retried = made.where(BatchItemRecord.attempts > 1)
        _hide_earlier_tries(session, list(session.execute(retried).scalars()))


def _hide_earlier_tries(session: Session, job_ids: Sequence[str | None]) -> None:
    """Mark the jobs that these were made to repeat, and those that those were, as deleted."""
    while job_ids:
        earlier: list[str | None] = []
        ids = iter(job_ids)
        while block := list(islice(ids, LOOK_UP_ROWS)):
            found = select(JobRecord.retry_of).where(
                JobRecord.id.in_(block), JobRecord.retry_of.is_not(None)
            )
            earlier.extend(session.execute(found).scalars())
            session.execute(
                update(JobRecord)
                .where(JobRecord.id.in_(block))
                .values(delete_requested=True)
                .execution_options(synchronize_session=False)
            )
        job_ids = earlier


def _insert(core: JobCore, new: NewBatch) -> tuple[str, bool]:
    """Return the batch's id, and whether the blob of its archive is used."""
    with transaction(core.engine) as session:
        _check_videos(session, new.items)
        now = core.clock.now(session)
        used = False
        if new.archive is not None:
            _, used = insert_video(session, core.tenant_id, new.archive, now)
            hold_quota_bytes(session, core)
        listed = new.source is BatchSource.ITEMS
        batch = BatchRecord(
            id=new_id("batch"),
            tenant_id=core.tenant_id,
            name=new.name,
            status=BatchStatus.PROCESSING if listed else BatchStatus.PREPARING,
            source=new.source,
            source_ref=new.source_ref,
            model=new.model,
            recipe=new.recipe,
            options=new.options,
            tag=new.tag,
            camera=new.camera,
            queue=new.queue,
            webhook=new.webhook,
            idempotency_key=new.idempotency_key,
            request_digest=new.digest if new.idempotency_key is not None else None,
            created_at=now,
        )
        session.add(batch)
        session.flush()
        insert_items(session, batch, new.items)
        return batch.id, used


def _check_videos(session: Session, items: Sequence[NewItem]) -> None:
    """Refuse videos that the session's tenant does not have."""
    wanted = {item.video_id for item in items if item.video_id is not None}
    ids = iter(sorted(wanted))
    while block := list(islice(ids, LOOK_UP_ROWS)):
        found = select(VideoRecord.id).where(VideoRecord.id.in_(block))
        missing = set(block) - set(session.execute(found).scalars())
        if missing:
            message = f"There is no video {min(missing)}; check the ids of the items."
            raise InvalidRequest(message)


def _uniquely_named(items: Iterable[NewItem]) -> Iterator[tuple[NewItem, str]]:
    """Yield items with names of their own: a later one of the same name is ``name#2``."""
    used: set[str] = set()
    next_number: dict[str, int] = {}
    for item in items:
        name = item.name
        while name in used:
            number = next_number[item.name] = next_number.get(item.name, 1) + 1
            name = f"{item.name}#{number}"
        used.add(name)
        yield item, name


def _ended_badly() -> Any:  # noqa: ANN401 - SQLAlchemy's expression
    return BatchItemRecord.status.in_([ItemStatus.FAILED, ItemStatus.CANCELED])


def _reopen(batch: BatchRecord, status: BatchStatus) -> None:
    batch.status = status
    batch.completed_at = None
    batch.cancel_requested = False


def _locked(session: Session, batch_id: str) -> BatchRecord:
    batch = lock_batch(session, batch_id)
    if batch is None:
        message = f"There is no batch {batch_id}; it was deleted a moment ago."
        raise BatchNotFound(message)
    return batch


def unfinished_items(session: Session, batch_id: str) -> bool:
    """Return whether any item of a batch has not ended."""
    found = session.execute(
        select(BatchItemRecord.id)
        .where(BatchItemRecord.batch_id == batch_id, BatchItemRecord.status.in_(UNFINISHED_ITEMS))
        .limit(1)
    )
    return found.first() is not None
