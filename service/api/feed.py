"""What happens, told to many readers: one look at the database per tick, whoever listens.

A reader subscribes, reads from the database what lies between the last event it knows and the
feed's position, and then takes what the feed hands out: no event is missed and none comes twice.
Nothing waits for a reader: one that falls too far behind is let go and comes back with the id of
the last event it has seen.
"""

import asyncio
import contextvars
import json
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from service.errors import DatabaseUnavailable, OutageError
from service.jobs.commands import JobCore
from service.jobs.events import (
    FINAL_EVENTS,
    READ_LIMIT,
    Event,
    EventTail,
    JobProgress,
    all_progress,
    existing_jobs,
)
from service.jobs.store import reading

TICK_SECONDS = 0.25
"""How often the database is looked at while anybody listens."""

TICKS_PER_PROGRESS = 2
"""Source: conventions 3.4: progress is told at most every 500 ms."""

TICKS_PER_CENSUS = 20
"""How often it is looked whether the jobs that are listened to are still there."""

OUTAGE_SECONDS = 2.0
"""The pause after a look that the database did not answer."""

START_SECONDS = 10.0
"""How long a first reader waits for the database to answer."""

MAX_PENDING = 2 * READ_LIMIT
"""Events a reader may be behind: more than one look brings. All readers share their text."""

_log = structlog.get_logger(__name__)


def event_frame(event: Event) -> bytes:
    """Return an event as a server-sent event, its data in the shape of a webhook's body.

    Source: WHATWG HTML, 9.2.6 (event stream format); Standard Webhooks (type, timestamp, data).
    """
    subject = event.job_id or event.batch_id
    document = _document(event.type, event.created_at, {"id": subject, **event.details})
    return b"id: %d\n%b" % (event.id, document)


def progress_frame(progress: JobProgress) -> bytes:
    """Return progress as a server-sent event without an id: nobody needs to hear it again."""
    known = asdict(progress)
    data = {"id": known.pop("job_id"), **known, "progress": round(progress.progress, 4)}
    del data["tenant_id"]
    return _document("progress", datetime.now(UTC), data)


def deleted_frame(job_id: str) -> bytes:
    """Return the last frame about a deleted job; without an id, as its events are gone."""
    return _document("job.deleted", datetime.now(UTC), {"id": job_id})


def _document(event_type: str, moment: datetime, data: dict[str, Any]) -> bytes:
    timestamp = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    # ASCII escapes keep every line break out of the one line that data has.
    text = json.dumps({"type": event_type, "timestamp": timestamp, "data": data})
    return f"event: {event_type}\ndata: {text}\n\n".encode("ascii")


class Subscription:
    """One reader's share of the feed; only for the event loop that the feed runs in.

    Attributes:
        tenant_id: whose events it gets.
        job_id: the one job it is about; None for everything of the tenant.
        after: events up to this id are known to the reader and never handed over.
        position: of the feed when it subscribed: what came before is read from the database.
    """

    def __init__(self, tenant_id: str, job_id: str | None, after: int) -> None:
        self.tenant_id = tenant_id
        self.job_id = job_id
        self.after = after
        self.position = 0
        self.closed = False
        self._last = b""
        self._pending: deque[tuple[Event, bytes]] = deque()
        # The newest only: what a slow reader did not get of it, it need not get any more.
        self._progress: dict[str, bytes] = {}
        self._told: dict[str, JobProgress] = {}
        self._woken = asyncio.Event()

    def close(self) -> None:
        """Hand nothing over any more; what is pending can still be taken."""
        self.closed = True
        self._woken.set()

    def offer(self, shared: tuple[Event, bytes]) -> None:
        """Hand an event over; a reader that is too far behind is let go instead."""
        if self.closed or shared[0].id <= self.after:
            return
        if len(self._pending) >= MAX_PENDING:
            self.close()
            return
        self._pending.append(shared)
        self._woken.set()

    def end(self, frame: bytes) -> None:
        """Close it with something that is no event of its own."""
        self._last = frame
        self.close()

    def offer_progress(self, progress: JobProgress, frame: bytes) -> None:
        """Hand the progress of a job over, unless it is what was told last."""
        if not self.closed and self._told.get(progress.job_id) != progress:
            self._told[progress.job_id] = progress
            self._progress[progress.job_id] = frame
            self._woken.set()

    def keep_only(self, job_ids: Iterable[str]) -> None:
        """Forget the progress of jobs that nobody works on any more."""
        for job_id in self._told.keys() - set(job_ids):
            del self._told[job_id]

    async def wait(self, seconds: float) -> None:
        """Return when there is something to take, it was closed, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    def take(self) -> tuple[bytes, bool]:
        """Return what is pending as one text, and whether a job's final event ends it."""
        self._woken.clear()
        # Progress goes first: it is older than a final event, after which nothing may come.
        frames = list(self._progress.values())
        self._progress.clear()
        for event, frame in self._pending:
            frames.append(frame)
            if self.job_id is not None and event.type in FINAL_EVENTS:
                return b"".join(frames), True
        self._pending.clear()
        frames.append(self._last)
        return b"".join(frames), False


@dataclass(slots=True)
class _Readers:
    """Who listens to what."""

    all: set[Subscription] = field(default_factory=set)
    of_job: dict[str, set[Subscription]] = field(default_factory=dict)
    of_tenant: dict[str, set[Subscription]] = field(default_factory=dict)

    def add(self, one: Subscription) -> None:
        self.all.add(one)
        self._group(one).add(one)

    def remove(self, one: Subscription) -> None:
        self.all.discard(one)
        group = self._group(one)
        group.discard(one)
        if not group:
            groups, name = self._place(one)
            del groups[name]

    def about(self, job_id: str | None, tenant_id: str) -> list[Subscription]:
        """Return whoever listens to this job, or to everything of this tenant."""
        of_job = self.of_job.get(job_id, ()) if job_id is not None else ()
        # A job's id alone names it, but nobody may listen to another tenant's.
        mine = [one for one in of_job if one.tenant_id == tenant_id]
        return [*mine, *self.of_tenant.get(tenant_id, ())]

    def _group(self, one: Subscription) -> set[Subscription]:
        groups, name = self._place(one)
        return groups.setdefault(name, set())

    def _place(self, one: Subscription) -> tuple[dict[str, set[Subscription]], str]:
        if one.job_id is not None:
            return self.of_job, one.job_id
        return self.of_tenant, one.tenant_id


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at the database brought; None where it was not looked at."""

    events: list[Event]
    progress: list[JobProgress] | None = None
    existing: set[str] | None = None


class EventFeed:
    """Looks at the database while somebody listens, and hands out what it finds.

    Args:
        core: of no tenant.
        stopping: set when the process is to end; every reader is then let go at once.
    """

    def __init__(self, core: JobCore, stopping: threading.Event) -> None:
        self._core = core
        self._stopping = stopping
        self._readers = _Readers()
        self._tail = EventTail(core)
        # Of what was handed out; the tail, in its thread, may be ahead of it.
        self._position = 0
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def num_readers(self) -> int:
        """How many listen now."""
        return len(self._readers.all)

    @asynccontextmanager
    async def subscribed(
        self, tenant_id: str, job_id: str | None, after: int
    ) -> AsyncIterator[Subscription]:
        """Listen to a tenant's events, or to those of one of its jobs.

        Args:
            tenant_id: whose events.
            job_id: of a job that this tenant can see; None for everything.
            after: the last event that the reader knows.

        Raises:
            DatabaseUnavailable: the database did not answer.
        """
        subscription = Subscription(tenant_id, job_id, after)
        self._readers.add(subscription)
        try:
            await self._started()
            subscription.position = self._position
            yield subscription
        finally:
            self._readers.remove(subscription)

    async def close(self) -> None:
        """Let all readers go and stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _started(self) -> None:
        if self._task is None or self._task.done():
            self._ready.clear()
            self._tail = EventTail(self._core)
            # It reads for all tenants, and is no part of the request that happens to be the first.
            self._task = asyncio.create_task(
                self._run(), name="event-feed", context=contextvars.Context()
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._ready.wait()
        except TimeoutError as error:
            message = "The database did not answer; connect again in a moment."
            raise DatabaseUnavailable(message) from error

    async def _run(self) -> None:
        tick = 0
        try:
            while self._readers.all and not self._stopping.is_set():
                await asyncio.sleep(await self._turn(tick))
                tick += 1
        except Exception:  # noqa: BLE001 - the readers come back, and it begins anew
            _log.exception("event_feed_failed")
        finally:
            self._ready.set()
            for subscription in self._readers.all:
                subscription.close()

    async def _turn(self, tick: int) -> float:
        """Look once and hand out; return the seconds until the next turn."""
        census = list(self._readers.of_job) if tick % TICKS_PER_CENSUS == 0 else []
        try:
            look = await run_in_threadpool(self._look, tick % TICKS_PER_PROGRESS == 0, census)
        except OutageError as error:
            # The tail stands where it stood: nothing is missed.
            _log.warning("event_feed_outage", code=error.code, error=str(error))
            return OUTAGE_SECONDS
        self._hand_out(look, census)
        position = self._tail.position
        if position is not None:
            self._position = position
            self._ready.set()
        return 0.0 if self._tail.more else TICK_SECONDS

    def _look(self, with_progress: bool, census: list[str]) -> _Look:
        events = self._tail.read()
        if not with_progress and not census:
            return _Look(events)
        try:
            with reading(self._core.engine) as session:
                return _Look(
                    events,
                    all_progress(session) if with_progress else None,
                    existing_jobs(session, census) if census else None,
                )
        except OutageError:
            # The tail has gone on: what it returned must be handed out in any case.
            return _Look(events)

    def _hand_out(self, look: _Look, census: list[str]) -> None:
        readers = self._readers
        for event in look.events:
            listening = readers.about(event.job_id, event.tenant_id)
            if listening:
                shared = (event, event_frame(event))
                for one in listening:
                    one.offer(shared)
        if look.progress is not None:
            self._hand_out_progress(look.progress)
        if look.existing is not None:
            for job_id in set(census) - look.existing:
                for one in readers.of_job.get(job_id, ()):
                    one.end(deleted_frame(job_id))

    def _hand_out_progress(self, found: list[JobProgress]) -> None:
        for progress in found:
            listening = self._readers.about(progress.job_id, progress.tenant_id)
            if listening:
                frame = progress_frame(progress)
                for one in listening:
                    one.offer_progress(progress, frame)
        working = {progress.job_id for progress in found}
        for one in self._readers.all:
            one.keep_only(working)
