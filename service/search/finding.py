"""Finds segments: a page at a time, in order, in bounded time whatever is asked.

Which of a search's conditions is the rare one, nobody knows beforehand, and conditions depend on
each other: a camera and a label that are both common may never meet. So nothing is guessed. A
search walks the index that is in its order, and asks other stretches that hold all it wants how
long they are, both up to a limit that grows fourfold until one of them settles it. That costs a
small multiple of what the best of them would, and never more than the last limit.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.errors import InvalidRequest
from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.store import reading
from service.jobs.tenancy import ALL_TENANTS, bound_tenant
from service.search.filters import SegmentFilter, moment_of
from service.search.paths import Order, Path, Place, Wanted
from service.search.records import (
    FIRST_DATED_MS,
    SCORE_UNITS,
    CountKind,
    SegmentCountRecord,
    SegmentRecord,
)

LIMITS = (2_000, 8_000, 32_000, 128_000)
"""Entries of an index that are read for a page before the next try; SQLite reads about five
million a second, PostgreSQL about two."""

WHOLE = 2**31 - 1
REFILLS = 5
"""How often a page from which deleted jobs were dropped is filled up again."""

LOOK_UP_ROWS = 500
MAX_FACETS = 1000
"""Of each kind, the most frequent."""

MAX_KEY = 2**62


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """One segment with the job and the video it is of.

    Attributes:
        row: the segment's.
    """

    row: SegmentRecord
    job: JobRecord
    video: VideoRecord

    @property
    def id(self) -> str:
        """The public id: its job's, and its position in that job's result."""
        return f"{self.job.id.replace('job', 'seg', 1)}_{self.row.position}"

    @property
    def score(self) -> float:
        """The public score, in [0, 1]."""
        return self.row.score / SCORE_UNITS

    @property
    def end_ms(self) -> int:
        """From the first frame."""
        return self.row.start_ms + self.row.duration_ms

    @property
    def start_time(self) -> datetime | None:
        """The wall-clock moment it starts; None where nobody knows when it was recorded."""
        return moment_of(self.row.moment_ms) if self.row.moment_ms >= FIRST_DATED_MS else None

    @property
    def end_time(self) -> datetime | None:
        """The wall-clock moment it ends, or None."""
        dated = self.row.moment_ms >= FIRST_DATED_MS
        return moment_of(self.row.moment_ms + self.row.duration_ms) if dated else None


@dataclass(frozen=True, slots=True)
class SegmentPage:
    """Segments in the order asked for, and where the list goes on; None at its end.

    A page may hold fewer than asked for, even none, and still have a next one.
    """

    segments: list[FoundSegment]
    next_page_token: str | None


@dataclass(frozen=True, slots=True)
class Facet:
    """A label, camera or tag, and how many segments have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """What one search of the indexes gave.

    Attributes:
        places: of the segments, in order.
        next: where to go on; None if there are no more.
    """

    places: list[Place]
    next: Place | None


def find_segments(
    core: JobCore,
    wanted: SegmentFilter,
    *,
    order: Order = Order.TIME,
    page_size: int,
    page_token: str | None = None,
    camera: str | None = None,
) -> SegmentPage:
    """Return a page of a tenant's segments.

    What is there from the first page to the last stands on exactly one page, whatever comes and
    goes meanwhile.

    Args:
        core: bound to the tenant.
        wanted: the filter.
        order: of the list.
        page_size: at most so many.
        page_token: of the page before.
        camera: whoever asks may see this one's segments alone.

    Raises:
        InvalidRequest: the page token is none of ours, or of another order.
    """
    behind = None if page_token is None else read_token(page_token, order)
    narrowed = wanted if camera is None else wanted.at_camera(camera)
    if narrowed is None:
        return SegmentPage([], None)
    with _one_state(core.engine) as session:
        question = _question(session, narrowed, order)
        segments: list[FoundSegment] = []
        for _ in range(REFILLS):
            found = find_places(session, question, page_size - len(segments), behind)
            segments.extend(look_up(session, narrowed, found.places))
            behind = found.next
            if behind is None or len(segments) == page_size or not found.places:
                break
    return SegmentPage(segments, None if behind is None else token_of(behind, order))


def find_many(
    core: JobCore,
    wanted: SegmentFilter,
    *,
    order: Order = Order.TIME,
    page_size: int,
    page_token: str | None = None,
    camera: str | None = None,
) -> tuple[Iterator[FoundSegment], str | None]:
    """Return a long page as `find_segments` does, whose segments are read while they are sent.

    Returns:
        The segments, and the token of the next page.

    Raises:
        InvalidRequest: the page token is none of ours, or of another order.
    """
    behind = None if page_token is None else read_token(page_token, order)
    narrowed = wanted if camera is None else wanted.at_camera(camera)
    if narrowed is None:
        return iter(()), None
    with _one_state(core.engine) as session:
        found = find_places(session, _question(session, narrowed, order), page_size, behind)

    def read() -> Iterator[FoundSegment]:
        for first in range(0, len(found.places), LOOK_UP_ROWS):
            with reading(core.engine) as session:
                part = look_up(session, narrowed, found.places[first : first + LOOK_UP_ROWS])
            yield from part

    return read(), None if found.next is None else token_of(found.next, order)


def count_facets(core: JobCore) -> dict[CountKind, list[Facet]]:
    """Return how many segments a tenant has of each label, camera and tag, the most first."""
    total = func.sum(SegmentCountRecord.amount)
    facets: dict[CountKind, list[Facet]] = {}
    with reading(core.engine) as session:
        for kind in CountKind:
            rows = session.execute(
                select(SegmentCountRecord.value, total)
                .where(SegmentCountRecord.kind == kind)
                .group_by(SegmentCountRecord.value)
                .having(total > 0)
                .order_by(total.desc(), SegmentCountRecord.value)
                .limit(MAX_FACETS)
            )
            facets[kind] = [Facet(value, int(count)) for value, count in rows]
    return facets


def find_places(session: Session, wanted: Wanted, count: int, behind: Place | None) -> Found:
    """Return the places of the next segments that are wanted.

    Args:
        session: bound to the tenant.
        wanted: the search.
        count: at most so many.
        behind: where to go on.
    """
    walk = wanted.walk()
    if walk is None:
        path = next(wanted.gatherings())
        return _cut(_places(session, path.gathered(wanted, WHOLE, behind, count + 1)), count)
    others = [path for path in wanted.gatherings() if path != walk]
    places: list[Place] = []
    place, walked = behind, 0
    for limit in LIMITS:
        # Mostly a short walk is all there is to it: nothing else is looked at before.
        shortest = _shortest(session, others, limit) if walked else None
        rest = count + 1 - len(places)
        if shortest is not None:
            places += _places(session, shortest.gathered(wanted, WHOLE, place, rest))
            return _cut(places, count)
        places += _places(session, walk.walked(wanted, limit - walked, place, rest))
        if len(places) > count:
            return _cut(places, count)
        ends = _places(session, walk.end(limit - walked, place))
        if not ends:
            return Found(places, None)
        place, walked = ends[0], limit
    return Found(places, place)


def look_up(session: Session, wanted: SegmentFilter, places: Sequence[Place]) -> list[FoundSegment]:
    """Return the segments at these places, without those of jobs that are deleted by now."""
    if not places:
        return []
    # By their keys alone: SQLite, which keeps no figures of its tables, would rather look through
    # all that the tenant has. So whose they are is compared here.
    rows = session.execute(
        select(SegmentRecord, JobRecord, VideoRecord)
        .join(JobRecord, JobRecord.id == SegmentRecord.job_id)
        .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
        .where(SegmentRecord.id.in_([place.row_id for place in places]))
        .execution_options(**ALL_TENANTS)
    ).all()
    bind = session.bind
    tenant_id = bound_tenant(bind) if isinstance(bind, Engine) else None
    by_id = {
        row.id: FoundSegment(row, job, video)
        for row, job, video in rows
        if tenant_id in {None, row.tenant_id} and not job.delete_requested
    }
    ordered = (by_id[place.row_id] for place in places if place.row_id in by_id)
    # Keys stand for words, and two words may share one.
    return [one for one in ordered if _has_words(one, wanted)]


def token_of(place: Place, order: Order) -> str:
    """Return the page token of what is behind a place."""
    text = f"{order}|{place.key}|{place.row_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_token(token: str, order: Order) -> Place:
    """Return the place that a page token names.

    Raises:
        InvalidRequest: it is none of ours, or of another order.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        name, key, row_id = text.split("|")
        place = Place(int(key), int(row_id))
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(_FOREIGN) from error
    if name != order or max(abs(place.key), abs(place.row_id)) > MAX_KEY:
        raise InvalidRequest(_FOREIGN)
    return place


_FOREIGN = "The page_token is not one that this service gave out for this order; start without one."


def _one_state(engine: Engine) -> AbstractContextManager[Session]:
    """Open a session whose statements all see the database as it was at the first of them.

    What is added or removed between two of them would shift where a walk goes on. SQLite reads
    this way by itself.
    """
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    return reading(engine)


def _question(session: Session, wanted: SegmentFilter, order: Order) -> Wanted:
    jobs = None if wanted.job is None else [wanted.job]
    if wanted.video is not None:
        of_video = select(JobRecord.id).where(JobRecord.video_id == wanted.video)
        if wanted.job is not None:
            of_video = of_video.where(JobRecord.id == wanted.job)
        # Another tenant's jobs are no harm: of their segments nothing is found.
        jobs = list(session.execute(of_video.execution_options(**ALL_TENANTS)).scalars())
    return Wanted.of(wanted, order, jobs)


def _shortest(session: Session, paths: Sequence[Path], limit: int) -> Path | None:
    """Return the shortest of the stretches, if it is not longer than the limit."""
    best, best_length = None, limit + 1
    for path in paths:
        length = session.execute(path.length(best_length)).scalar_one()
        if length < best_length:
            best, best_length = path, length
    return best


def _places(session: Session, statement: Any) -> list[Place]:  # noqa: ANN401 - of any select
    return [Place(int(key), int(row_id)) for row_id, key in session.execute(statement)]


def _cut(places: list[Place], count: int) -> Found:
    if len(places) <= count:
        return Found(places, None)
    return Found(places[:count], places[count - 1])


def _has_words(found: FoundSegment, wanted: SegmentFilter) -> bool:
    return all(
        words is None or word in words
        for words, word in (
            (wanted.label, found.row.label),
            (wanted.camera, found.job.camera),
            (wanted.tag, found.job.tag),
        )
    )
