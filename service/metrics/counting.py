"""Counters that outlive processes and rows: workers add to them, the API reads their sums.

Whoever counts needs no port that a monitoring system reaches, and what a deleted job added stays
counted, as a counter's reader expects. A transaction that is rolled back counts nothing.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Engine, delete, func, select
from sqlalchemy.orm import Session

from service.jobs.store import reading, transaction
from service.metrics.records import CountRecord

FEW_ROWS = 500
"""Below this many rows summing up is not worth a transaction."""

UNSAFE = re.compile(r"[^A-Za-z0-9_.:/+-]")

Labels = tuple[tuple[str, str], ...]
"""Names and values, in order of the names."""


class Counter(StrEnum):
    """What is counted; the values are parts of public names."""

    TASKS = "tasks"
    """Tasks that workers ended, by ``kind`` and ``ending``."""
    TASK_SECONDS = "task_seconds"
    """How long they took, by ``kind``."""
    STAGE_SECONDS = "stage_seconds"
    """How long workers were in a ``stage``."""
    CHUNKS = "chunks"
    """Chunks by ``features``: ``computed``, or ``found`` in the store."""
    FRAMES = "frames"
    """Frames of the uniform grid whose features were computed."""
    JOBS_ENDED = "jobs_ended"
    """Jobs by the ``status`` they ended in, and the ``code`` of a failure."""
    DELIVERY_ATTEMPTS = "webhook_attempts"
    """Webhook messages sent, by ``result``."""


def labelled(**labels: str) -> Labels:
    """Return labels in their one order, with values that are safe to store and to show."""
    return tuple((name, UNSAFE.sub("_", value)[:100]) for name, value in sorted(labels.items()))


def count(session: Session, counter: Counter, labels: Labels = (), amount: float = 1.0) -> None:
    """Let a counter grow when the session's transaction commits."""
    text = ",".join(f"{name}={value}" for name, value in labels)
    session.add(CountRecord(counter=counter.value, labels=text, amount=amount))


def write_counts(engine: Engine, counts: Mapping[tuple[Counter, Labels], float]) -> None:
    """Let several counters grow in a transaction of their own.

    Raises:
        DatabaseUnavailable: the database did not answer.
    """
    with transaction(engine) as session:
        for (counter, labels), amount in counts.items():
            count(session, counter, labels, amount)


def read_counts(session: Session) -> dict[tuple[str, Labels], float]:
    """Return the sums by counter and labels."""
    rows = session.execute(
        select(CountRecord.counter, CountRecord.labels, func.sum(CountRecord.amount)).group_by(
            CountRecord.counter, CountRecord.labels
        )
    )
    return {(counter, _parsed(labels)): float(total) for counter, labels, total in rows}


def sum_up(engine: Engine) -> int:
    """Replace many rows by their sums; returns how many there were; for the sweeper.

    Deleting tells which rows those are, so that none that is added meanwhile gets lost.
    """
    with reading(engine) as session:
        found = session.execute(select(func.count()).select_from(CountRecord)).scalar_one()
    if found < FEW_ROWS:
        return 0
    with transaction(engine) as session:
        rows = session.execute(
            delete(CountRecord)
            .returning(CountRecord.counter, CountRecord.labels, CountRecord.amount)
            .execution_options(synchronize_session=False)
        ).all()
        sums: dict[tuple[str, str], float] = {}
        for counter, labels, amount in rows:
            sums[counter, labels] = sums.get((counter, labels), 0.0) + amount
        for (counter, labels), amount in sums.items():
            session.add(CountRecord(counter=counter, labels=labels, amount=amount))
    return len(rows)


def _parsed(labels: str) -> Labels:
    pairs = (pair.partition("=") for pair in labels.split(",") if pair)
    return tuple((name, value) for name, _, value in pairs)
