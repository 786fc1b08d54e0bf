"""Looking at batches: progress of all items together, single items, combined results."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.exports import selected, stamped
from models.overrides import LocalizeOverrides
from service.batches.combining import NamedResult
from service.batches.commands import visible_batch
from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import ITEM_ENDED, UNFINISHED_ITEMS, BatchStatus, ItemStatus
from service.errors import InvalidRequest
from service.jobs import paging
from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, ResultRecord
from service.jobs.store import reading

RATE_ITEMS = 50
"""The time left comes from as many items as ended last: queues and models change over a night."""

RESULT_ROWS = 200


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is.

    Attributes:
        counts: status of items -> how many.
        reused: of those that succeeded, how many had a result before.
        fraction: in [0, 1]; open jobs count by their own progress.
        eta_seconds: None where nothing tells.
        size_bytes, done_bytes: of the items whose size is known.
    """

    counts: Mapping[str, int]
    reused: int
    fraction: float
    eta_seconds: float | None
    size_bytes: int
    done_bytes: int


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as of one moment."""

    batch: BatchRecord
    progress: BatchProgress


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items in their order, and the token of the next page; None after the last."""

    items: list[BatchItemRecord]
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class BatchPage:
    """Batches, newest first, and the token of the next page; None after the last."""

    views: list[BatchView]
    next_page_token: str | None


def get_batch(core: JobCore, batch_id: str) -> BatchView:
    """Return a batch with its progress.

    Raises:
        BatchNotFound: there is none.
    """
    with reading(core.engine) as session:
        return _view(session, visible_batch(session, batch_id), core.clock.now(session))


def list_batches(core: JobCore, *, page_size: int, page_token: str | None) -> BatchPage:
    """Return batches, newest first.

    Raises:
        InvalidRequest: the page token is none of ours.
    """
    statement = (
        select(BatchRecord)
        .where(BatchRecord.delete_requested.is_(False))
        .order_by(BatchRecord.created_at.desc(), BatchRecord.id.desc())
        .limit(page_size + 1)
    )
    if page_token is not None:
        statement = statement.where(
            paging.behind(page_token, BatchRecord.created_at, BatchRecord.id)
        )
    with reading(core.engine) as session:
        batches = list(session.execute(statement).scalars())
        now = core.clock.now(session)
        views = [_view(session, batch, now) for batch in batches[:page_size]]
    token = None
    if len(batches) > page_size:
        last = batches[page_size - 1]
        token = paging.page_token(last.created_at, last.id)
    return BatchPage(views, token)


def list_items(
    core: JobCore,
    batch_id: str,
    *,
    status: ItemStatus | None,
    page_size: int,
    page_token: str | None,
) -> ItemPage:
    """Return items of a batch in their order.

    Raises:
        BatchNotFound: there is no such batch.
        InvalidRequest: the page token is none of ours.
    """
    after = -1 if page_token is None else _read_position(page_token)
    with reading(core.engine) as session:
        visible_batch(session, batch_id)
        statement = (
            select(BatchItemRecord)
            .where(BatchItemRecord.batch_id == batch_id, BatchItemRecord.position > after)
            .order_by(BatchItemRecord.position)
            .limit(page_size + 1)
        )
        if status is not None:
            statement = statement.where(BatchItemRecord.status == status)
        items = list(session.execute(statement).scalars())
    token = _token(str(items[page_size - 1].position)) if len(items) > page_size else None
    return ItemPage(items[:page_size], token)


def names_with_results(core: JobCore, batch_id: str) -> tuple[list[str], bool]:
    """Return the names of all items that have a result, and whether any knows its moment.

    Raises:
        BatchNotFound: there is no such batch.
    """
    with reading(core.engine) as session:
        visible_batch(session, batch_id)
        names = list(
            session.execute(
                select(BatchItemRecord.name)
                .where(
                    BatchItemRecord.batch_id == batch_id,
                    BatchItemRecord.status == ItemStatus.SUCCEEDED,
                    BatchItemRecord.job_id.is_not(None),
                )
                .order_by(BatchItemRecord.position)
            ).scalars()
        )
        timed = session.execute(
            select(BatchItemRecord.id)
            .where(BatchItemRecord.batch_id == batch_id, BatchItemRecord.recorded_at.is_not(None))
            .limit(1)
        ).first()
    return names, timed is not None


def batch_results(core: JobCore, batch_id: str) -> Iterator[NamedResult]:
    """Yield the results of all items that succeeded, in their order, a few rows at a time.

    A reader may be slow: no transaction stays open between two blocks of rows.
    """
    after = -1
    while True:
        with reading(core.engine) as session:
            rows = session.execute(
                select(
                    BatchItemRecord.position,
                    BatchItemRecord.name,
                    BatchItemRecord.camera,
                    BatchItemRecord.recorded_at,
                    JobRecord.options,
                    ResultRecord.document,
                )
                .join(JobRecord, JobRecord.id == BatchItemRecord.job_id)
                .join(ResultRecord, ResultRecord.job_id == JobRecord.id)
                .where(
                    BatchItemRecord.batch_id == batch_id,
                    BatchItemRecord.position > after,
                    BatchItemRecord.status == ItemStatus.SUCCEEDED,
                    JobRecord.delete_requested.is_(False),
                )
                .order_by(BatchItemRecord.position)
                .limit(RESULT_ROWS)
            ).all()
        for row in rows:
            yield row.name, shown_result(row.document, row.options, row.recorded_at, row.camera)
        if len(rows) < RESULT_ROWS:
            return
        after = rows[-1].position


def shown_result(
    native: Mapping[str, Any],
    options: Mapping[str, Any],
    recorded_at: datetime | None,
    camera: str | None,
) -> dict[str, Any]:
    """Return a stored result as its user sees it: labels and scores he asked for, his times."""
    chosen = LocalizeOverrides.from_json(options)
    return stamped(selected(native, chosen), recorded_at, camera)


def _view(session: Session, batch: BatchRecord, now: datetime) -> BatchView:
    rows = session.execute(
        select(
            BatchItemRecord.status,
            func.count(),
            func.coalesce(func.sum(BatchItemRecord.size_bytes), 0),
        )
        .where(BatchItemRecord.batch_id == batch.id)
        .group_by(BatchItemRecord.status)
    ).all()
    counts = {row[0]: row[1] for row in rows}
    # PostgreSQL sums big integers as decimals.
    sizes = {row[0]: int(row[2] or 0) for row in rows}
    num_ended = sum(counts.get(status, 0) for status in ITEM_ENDED)
    num_left = sum(counts.get(status, 0) for status in UNFINISHED_ITEMS)
    under_way = _progress_of_open(session, batch.id) if counts.get(ItemStatus.OPEN) else 0.0
    total = num_ended + num_left
    fraction = 1.0 if batch.completed_at is not None else 0.0
    eta_seconds = None
    if batch.status == BatchStatus.PROCESSING and total:
        fraction = min(1.0, (num_ended + under_way) / total)
        eta_seconds = _eta_seconds(session, batch.id, num_left - under_way, now)
    return BatchView(
        batch,
        BatchProgress(
            counts={status.value: counts.get(status, 0) for status in ItemStatus},
            reused=_num_reused(session, batch.id),
            fraction=fraction,
            eta_seconds=eta_seconds,
            size_bytes=sum(sizes.values()),
            done_bytes=sum(sizes.get(status, 0) for status in ITEM_ENDED),
        ),
    )


def _progress_of_open(session: Session, batch_id: str) -> float:
    """Return the progress of all open jobs added up."""
    found = session.execute(
        select(func.coalesce(func.sum(JobRecord.progress), 0.0))
        .join(BatchItemRecord, BatchItemRecord.job_id == JobRecord.id)
        .where(BatchItemRecord.batch_id == batch_id, BatchItemRecord.status == ItemStatus.OPEN)
    ).scalar_one()
    return float(found)


def _num_reused(session: Session, batch_id: str) -> int:
    return session.execute(
        select(func.count())
        .select_from(BatchItemRecord)
        .where(
            BatchItemRecord.batch_id == batch_id,
            BatchItemRecord.status == ItemStatus.SUCCEEDED,
            BatchItemRecord.reused.is_(True),
        )
    ).scalar_one()


def _eta_seconds(session: Session, batch_id: str, num_left: float, now: datetime) -> float | None:
    """Return the time left at the rate of the items that ended last; reused ones cost none."""
    ends = list(
        session.execute(
            select(BatchItemRecord.ended_at)
            .where(
                BatchItemRecord.batch_id == batch_id,
                BatchItemRecord.ended_at.is_not(None),
                BatchItemRecord.attempts > 0,
            )
            .order_by(BatchItemRecord.ended_at.desc())
            .limit(RATE_ITEMS)
        ).scalars()
    )
    first = ends[-1] if ends else None
    # From the first of them to now one fewer has been done.
    if first is None or len(ends) < 2 or now <= first:  # noqa: PLR2004 - a rate needs two
        return None
    return round(num_left * (now - first).total_seconds() / (len(ends) - 1), 1)


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _untoken(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise _foreign_token() from error


def _foreign_token() -> InvalidRequest:
    message = "The page_token is not one that this service gave out; start without one."
    return InvalidRequest(message)


def _read_position(token: str) -> int:
    text = _untoken(token)
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004 - of an integer
        raise _foreign_token()
    return int(text)
