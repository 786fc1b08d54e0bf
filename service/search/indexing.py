"""Writes the rows that searches find: in the transaction that stores a result, or removes it.

A job has exactly the segments its user is shown: its labels and lowest score applied. Results of
earlier releases, which have no rows yet, are made up for bit by bit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Engine,
    Row,
    delete,
    false,
    func,
    insert,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import Session

from models.errors import OptionInvalid
from models.overrides import LocalizeOverrides
from service.jobs.lifecycle import lock_job
from service.jobs.records import JobRecord, ResultRecord
from service.jobs.store import reading, transaction
from service.search.filters import milliseconds, whole_ms
from service.search.records import (
    SCORE_UNITS,
    UNDATED_MS,
    CountKind,
    SegmentCountRecord,
    SegmentRecord,
    word_key,
)

RESULTS_PER_TURN = 50
SEGMENTS_PER_TURN = 5_000
"""On SQLite nobody else writes while a transaction does: this many take a few tenths of a
second."""

MANY_COUNTS = 2_000
"""Of rows more than there are sums; with less, summing up is not worth a transaction."""

DELETED_AT_ONCE = 500

_log = structlog.get_logger(__name__)


def index_result(session: Session, job: JobRecord, result: ResultRecord) -> int:
    """Insert the rows of a job's segments, and count them.

    Args:
        session: of the transaction, in which the job is locked.
        job: visible to its user.
        result: of it, without rows so far.

    Returns:
        How many they are.
    """
    rows = _readable_rows(job, result)
    if rows:
        session.execute(insert(SegmentRecord), rows)
        amounts = _amounts(job, Counter(row["label"] for row in rows))
        session.add_all(_counted(job.tenant_id, *words, n) for words, n in amounts.items())
    result.searchable = True
    return len(rows)


def unindex_job(session: Session, job: JobRecord) -> None:
    """Delete the rows of a job's segments, and count them no longer.

    Words that no segment has any longer are gone at once: they may be about people.

    Args:
        session: of the transaction, in which the job is locked and after which it is gone.
        job: to be deleted.
    """
    found = session.execute(
        select(SegmentRecord.label, func.count())
        .where(SegmentRecord.job_id == job.id)
        .group_by(SegmentRecord.label)
    )
    amounts = _amounts(job, Counter({label: -count for label, count in found}))
    if not amounts:
        return
    # All in one statement: word by word, two who delete would wait for each other.
    left = Counter(amounts)
    for one in _taken(session, SegmentCountRecord.tenant_id == job.tenant_id, _of(amounts)):
        left[CountKind(one.kind), one.value] += one.amount
    session.add_all(_counted(job.tenant_id, *words, n) for words, n in left.items() if n)
    session.execute(
        delete(SegmentRecord)
        .where(SegmentRecord.job_id == job.id)
        .execution_options(synchronize_session=False)
    )


def segment_rows(job: JobRecord, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the segments that a job's user is shown, in the result's order."""
    wanted = LocalizeOverrides.from_json(job.options)
    shown = [one for one in document["segments"] if wanted.keeps(one["label"], one["score"])]
    common = {
        "tenant_id": job.tenant_id,
        "job_id": job.id,
        "camera_key": word_key(job.camera),
        "tag_key": word_key(job.tag),
    }
    keys: dict[str, int | None] = {}
    rows = []
    for position, segment in enumerate(shown):
        label = _storable(segment["label"])
        if label not in keys:
            keys[label] = word_key(label)
        start_ms, end_ms = (whole_ms(segment[name]) for name in ("start", "end"))
        rows.append(
            {
                **common,
                "position": position,
                "label": label,
                "label_key": keys[label],
                "score": min(SCORE_UNITS, max(0, round(segment["score"] * SCORE_UNITS))),
                "raw_score": segment["raw_score"],
                "start_ms": start_ms,
                "duration_ms": max(0, end_ms - start_ms),
                "moment_ms": _moment_ms(job, start_ms),
            }
        )
    return rows


def index_earlier_results(engine: Engine) -> int:
    """Insert the rows of some results that have none yet; for the sweeper.

    Whoever is interrupted leaves what was committed, and the rest for the next turn.

    Returns:
        How many results were looked at.
    """
    with reading(engine) as session:
        job_ids = list(
            session.execute(
                select(ResultRecord.job_id)
                .where(ResultRecord.searchable == false())
                .order_by(ResultRecord.job_id)
                .limit(RESULTS_PER_TURN)
            ).scalars()
        )
    looked_at = written = 0
    for job_id in job_ids:
        if written >= SEGMENTS_PER_TURN:
            break
        written += _index_earlier(engine, job_id)
        looked_at += 1
    return looked_at


def sum_up_counts(engine: Engine) -> int:
    """Replace many counts by their sums; returns how many there were; for the sweeper."""
    counted = (SegmentCountRecord.tenant_id, SegmentCountRecord.kind, SegmentCountRecord.value)
    sums_of = (
        select(func.count().label("rows"))
        .select_from(SegmentCountRecord)
        .group_by(*counted)
        .subquery()
    )
    with reading(engine) as session:
        num_rows, num_sums = session.execute(
            select(func.sum(sums_of.c.rows), func.count()).select_from(sums_of)
        ).one()
    if (num_rows or 0) - num_sums < MANY_COUNTS:
        return 0
    with transaction(engine) as session:
        sums: Counter[tuple[str, str, str]] = Counter()
        several = select(*counted).group_by(*counted).having(func.count() > 1)
        rows = _taken(session, tuple_(*counted).in_(several))
        for row in rows:
            sums[row.tenant_id, row.kind, row.value] += row.amount
        session.add_all(_counted(*words, amount) for words, amount in sums.items() if amount)
    return len(rows)


def _index_earlier(engine: Engine, job_id: str) -> int:
    """Insert the rows of one result; return how many they are."""
    with transaction(engine) as session:
        job = lock_job(session, job_id)
        result = session.get(ResultRecord, job_id, populate_existing=True)
        if job is None or result is None or result.searchable:
            return 0  # deleted, or done by somebody else, a moment ago
        if job.delete_requested:
            result.searchable = True  # nobody is to see it, and it is on its way out
            return 0
        return index_result(session, job, result)


def _readable_rows(job: JobRecord, result: ResultRecord) -> list[dict[str, Any]]:
    """Return the rows of a result; one that trips us must not hold up its job, nor all others."""
    try:
        return segment_rows(job, result.document)
    except (KeyError, TypeError, ValueError, OptionInvalid) as error:
        _log.error("result_not_indexed", job_id=job.id, error=repr(error))
        return []


def _amounts(job: JobRecord, labels: Counter[str]) -> dict[tuple[CountKind, str], int]:
    """Return what is counted of so many segments of each label of a job."""
    total = sum(labels.values())
    words = [(CountKind.LABEL, label, amount) for label, amount in labels.items()]
    words += [
        (kind, word, total)
        for kind, word in ((CountKind.CAMERA, job.camera), (CountKind.TAG, job.tag))
        if word is not None and labels
    ]
    return {(kind, word): amount for kind, word, amount in words}


def _of(amounts: Mapping[tuple[CountKind, str], int]) -> ColumnElement[bool]:
    """Return the condition that a count is of one of these words, or of any if they are many."""
    if len(amounts) > DELETED_AT_ONCE:
        return true()
    return tuple_(SegmentCountRecord.kind, SegmentCountRecord.value).in_(list(amounts))


def _counted(tenant_id: str, kind: str, value: str, amount: int) -> SegmentCountRecord:
    return SegmentCountRecord(tenant_id=tenant_id, kind=kind, value=value, amount=amount)


def _taken(
    session: Session, *conditions: ColumnElement[bool]
) -> Sequence[Row[int, str, str, str, int]]:
    """Delete counts, and return them: each to one who takes them, in one order for all."""
    rows = session.execute(
        select(
            SegmentCountRecord.id,
            SegmentCountRecord.tenant_id,
            SegmentCountRecord.kind,
            SegmentCountRecord.value,
            SegmentCountRecord.amount,
        )
        .where(*conditions)
        .order_by(SegmentCountRecord.id)
        .with_for_update()
    ).all()
    for first in range(0, len(rows), DELETED_AT_ONCE):
        ids = [row.id for row in rows[first : first + DELETED_AT_ONCE]]
        session.execute(
            delete(SegmentCountRecord)
            .where(SegmentCountRecord.id.in_(ids))
            .execution_options(synchronize_session=False)
        )
    return rows


def _moment_ms(job: JobRecord, start_ms: int) -> int:
    if job.recorded_at is None:
        return milliseconds(job.created_at) - UNDATED_MS
    return milliseconds(job.recorded_at) + start_ms


def _storable(label: str) -> str:
    """Return a label as PostgreSQL takes it; only models made by hand have others."""
    return label.encode(errors="replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
