"""The ways to a search's segments: stretches of indexes, and how they are read.

A stretch is read by its index alone, in an inner statement with a limit. The search's other
conditions stand outside of it, where no planner can take them for a reason to use another index.
Which stretch is read, and how far, `service.search.finding` decides.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute

from service.search.filters import Range, SegmentFilter, milliseconds
from service.search.records import FIRST_DATED_MS, SegmentRecord, word_key

Conditions = tuple[ColumnElement[bool], ...]
Column = InstrumentedAttribute[Any] | ColumnElement[Any]


class Order(StrEnum):
    """In which order segments are found."""

    TIME = "time"
    """The latest first; behind them those of unknown time, the last made first."""
    SCORE = "score"
    """The best first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a walk stands: behind this segment.

    Attributes:
        key: what it is ordered by, ``moment_ms`` or ``score``.
        row_id: tells apart what has the same key.
    """

    key: int
    row_id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search as the columns of segments know it.

    Attributes:
        labels, cameras, tags: keys of words; None for any.
        moments: first, and first too late; None where there is no bound.
        scores, durations: lowest and highest, both included.
        jobs: of these alone; None for any.
    """

    order: Order
    labels: tuple[int, ...] | None = None
    cameras: tuple[int, ...] | None = None
    tags: tuple[int, ...] | None = None
    moments: Range = (None, None)
    scores: Range = (None, None)
    durations: Range = (None, None)
    jobs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, wanted: SegmentFilter, order: Order, jobs: Sequence[str] | None) -> "Wanted":
        """Return what a filter asks of the columns."""
        return cls(
            order,
            _keys(wanted.label),
            _keys(wanted.camera),
            _keys(wanted.tag),
            _moments(wanted),
            wanted.score_range,
            wanted.duration_range,
            None if jobs is None else tuple(jobs),
        )

    def conditions(self, entries: Subquery) -> Conditions:
        """Return what an entry of a stretch has to fulfil."""
        columns = entries.c
        return (
            *_one_of(columns.label_key, self.labels),
            *_one_of(columns.camera_key, self.cameras),
            *_one_of(columns.tag_key, self.tags),
            *_between(columns.score, self.scores),
            *_between(columns.duration_ms, self.durations),
            *self._in_time(columns.moment_ms),
        )

    def walk(self) -> "Path | None":
        """Return the path in the order asked for; of several the likely shortest."""
        label = _single(SegmentRecord.label_key, self.labels)
        if self.order is Order.SCORE:
            return self._by_score(label) if self.jobs is None else None
        if self.jobs is not None:
            job = _single(SegmentRecord.job_id, self.jobs)
            return self._by_time(job) if job else None
        camera = _single(SegmentRecord.camera_key, self.cameras)
        if camera:
            return self._by_time((*camera, *label))
        return self._by_time(_single(SegmentRecord.tag_key, self.tags) or label)

    def gatherings(self) -> Iterator["Path"]:
        """Yield stretches that hold all that is wanted, in whatever order."""
        if self.jobs is not None:
            yield Path(None, tuple(_one_of(SegmentRecord.job_id, self.jobs)))
            return
        label = tuple(_one_of(SegmentRecord.label_key, self.labels))
        camera = tuple(_one_of(SegmentRecord.camera_key, self.cameras))
        tag = tuple(_one_of(SegmentRecord.tag_key, self.tags))
        if camera or label or self.moments != (None, None):
            yield self._by_time((*camera, *label))
        if tag:
            yield self._by_time(tag)
        if self.scores != (None, None):
            yield self._by_score(label)
        if self.durations != (None, None):
            yield Path(None, tuple(_between(SegmentRecord.duration_ms, self.durations)))

    def _by_time(self, leading: Conditions) -> "Path":
        return Path(Order.TIME, (*leading, *self._in_time(SegmentRecord.moment_ms)))

    def _by_score(self, leading: Conditions) -> "Path":
        return Path(Order.SCORE, (*leading, *_between(SegmentRecord.score, self.scores)))

    def _in_time(self, moment_ms: Column) -> Iterable[ColumnElement[bool]]:
        first, too_late = self.moments
        if first is not None:
            yield moment_ms >= first
        if too_late is not None:
            yield moment_ms < too_late


@dataclass(frozen=True, slots=True)
class Path:
    """A stretch of one index.

    Attributes:
        order: that its entries are read in; None where it does not matter.
        conditions: that they fulfil.
    """

    order: Order | None
    conditions: Conditions

    def length(self, limit: int, behind: Place | None = None) -> Select[int]:
        """Return the statement for how many entries there are, up to a limit."""
        entries = self._bounded(select(SegmentRecord.id), behind).limit(_inline(limit))
        return select(func.count()).select_from(entries.subquery())

    def walked(
        self, wanted: Wanted, limit: int, behind: Place | None, count: int
    ) -> Select[int, int]:
        """Return the statement for what is wanted among the next entries, in their order."""
        entries = self._entries(limit, behind)
        key = _key(entries, wanted.order)
        # The entries' order reaches the outside in both databases; to order again would make
        # SQLite read all of them first.
        found = select(entries.c.id, key).where(*wanted.conditions(entries))
        return found.limit(_inline(count))

    def gathered(
        self, wanted: Wanted, limit: int, behind: Place | None, count: int
    ) -> Select[int, int]:
        """Return the statement for what is wanted in the whole stretch, in the order asked for."""
        entries = self._entries(limit, behind if self.order is wanted.order else None)
        key = _key(entries, wanted.order)
        found = select(entries.c.id, key).where(*wanted.conditions(entries))
        if behind is not None:
            found = found.where(_is_behind(key, entries.c.id, behind))
        return found.order_by(key.desc(), entries.c.id.desc()).limit(_inline(count))

    def end(self, limit: int, behind: Place | None) -> Select[int, int]:
        """Return the statement for where so many entries end; of nothing if there are fewer."""
        place = select(SegmentRecord.id, _ordering(self.order or Order.TIME))
        last: Select[int, int] = self._bounded(place, behind).offset(_inline(limit - 1))
        return last.limit(_inline(1))

    def _entries(self, limit: int, behind: Place | None) -> Subquery:
        entries = select(
            SegmentRecord.id,
            SegmentRecord.moment_ms,
            SegmentRecord.score,
            SegmentRecord.duration_ms,
            SegmentRecord.label_key,
            SegmentRecord.camera_key,
            SegmentRecord.tag_key,
        )
        bounded: Subquery = self._bounded(entries, behind).limit(_inline(limit)).subquery()
        return bounded

    def _bounded(self, entries: Select[*tuple[Any, ...]], behind: Place | None) -> Any:  # noqa: ANN401 - the same kind of statement
        bounded: Any = entries.where(*self.conditions)
        if self.order is None:
            return bounded
        key = _ordering(self.order)
        if behind is not None:
            bounded = bounded.where(_is_behind(key, SegmentRecord.id, behind))
        return bounded.order_by(key.desc(), SegmentRecord.id.desc())


def _ordering(order: Order) -> InstrumentedAttribute[int]:
    return SegmentRecord.moment_ms if order is Order.TIME else SegmentRecord.score


def _key(entries: Subquery, order: Order) -> ColumnElement[int]:
    return entries.c.moment_ms if order is Order.TIME else entries.c.score


def _is_behind(key: Column, row_id: Column, place: Place) -> ColumnElement[bool]:
    return tuple_(key, row_id) < tuple_(literal(place.key), literal(place.row_id))


def _inline(number: int) -> BindParameter[int]:
    # PostgreSQL's plan for a limit that it does not know would be one for a tenth of all rows.
    return literal(number, Integer, literal_execute=True)


def _keys(words: Sequence[str] | None) -> tuple[int, ...] | None:
    keys = None if words is None else {word_key(word) for word in words}
    return None if keys is None else tuple(sorted(key for key in keys if key is not None))


def _moments(wanted: SegmentFilter) -> Range:
    first = None if wanted.since is None else milliseconds(wanted.since)
    too_late = None if wanted.until is None else milliseconds(wanted.until)
    if first is None and too_late is not None:
        first = FIRST_DATED_MS
    return first, too_late


def _single(column: Column, values: Sequence[object] | None) -> Conditions:
    return (column == values[0],) if values is not None and len(values) == 1 else ()


def _one_of(column: Column, values: Sequence[object] | None) -> Iterable[ColumnElement[bool]]:
    if values is not None:
        yield column == values[0] if len(values) == 1 else column.in_(values)


def _between(column: Column, bounds: Range) -> Iterable[ColumnElement[bool]]:
    lowest, highest = bounds
    if lowest is not None:
        yield column >= lowest
    if highest is not None:
        yield column <= highest
