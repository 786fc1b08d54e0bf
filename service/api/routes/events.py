"""/v1/events and /v1/jobs/{id}/events: what happens, as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from service.api.deps import ApiContext, JobId, JobShown, JobsRead, SecuredRoute
from service.api.feed import EventFeed, Subscription, event_frame, progress_frame
from service.api.schemas import PROBLEMS
from service.errors import InvalidRequest
from service.jobs import commands
from service.jobs.events import FINAL_EVENTS, Event, JobProgress, has_news, replay
from service.jobs.states import ENDED, JobStatus
from service.jobs.store import reading

HEARTBEAT_SECONDS = 15.0
"""Source: WHATWG HTML, 9.2.7: a comment every 15 seconds keeps proxies from giving up."""

HEARTBEAT = b": still here\n\n"
GREETING = b"retry: 2000\n\n"
"""How many milliseconds a reader whose connection breaks waits before it comes back."""

NOTHING_MORE = 204
"""Source: WHATWG HTML, 9.2.1: the status that tells a reader not to come back."""

MAX_EVENT_ID = 2**63 - 1
EVENT_STREAM = "text/event-stream"

STREAM_DOCUMENTATION: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events; see docs/jobs.md.",
        "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
    },
    204: {"description": "The job has ended and its last event was seen: do not come back."},
}

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=20, description="The last id seen; goes on after it."),
]
LastEventIdQuery = Annotated[
    str | None, Query(alias="last_event_id", max_length=20, description="As the header.")
]


@asynccontextmanager
async def _feed_of(app: FastAPI) -> AsyncIterator[None]:
    """Give the process its one feed, for as long as the application runs."""
    context: ApiContext = app.state.context
    feed = EventFeed(context.core, context.stopping)
    app.state.feed = feed
    try:
        yield
    finally:
        await feed.close()


router = APIRouter(
    prefix="/v1", tags=["events"], responses=PROBLEMS, lifespan=_feed_of, route_class=SecuredRoute
)


@router.get("/jobs/{job_id}/events", response_class=Response, responses=STREAM_DOCUMENTATION)
async def get_job_events(
    request: Request,
    context: JobShown,
    job_id: JobId,
    header: LastEventId = None,
    query: LastEventIdQuery = None,
) -> Response:
    """Follow a job: its events from the first or after the last seen, progress, until it ends."""
    after = _event_id(header, query)
    feed: EventFeed = request.app.state.feed
    known = await run_in_threadpool(_first_look, context, job_id, after or 0)
    if known.ended and not known.news:
        return Response(status_code=NOTHING_MORE)
    return _stream(_job_frames(feed, context, known.progress, after or 0))


@router.get("/events", response_class=Response, responses=STREAM_DOCUMENTATION)
async def get_events(
    request: Request,
    context: JobsRead,
    header: LastEventId = None,
    query: LastEventIdQuery = None,
) -> Response:
    """Follow everything of the caller's, from now on or after the last event seen."""
    feed: EventFeed = request.app.state.feed
    return _stream(_all_frames(feed, context, _event_id(header, query)))


@dataclass(frozen=True, slots=True)
class _FirstLook:
    """A job as a reader of its events first finds it; ``news``: events it has not seen yet."""

    progress: JobProgress
    ended: bool
    news: bool


def _first_look(context: ApiContext, job_id: str, after: int) -> _FirstLook:
    with reading(context.core.engine) as session:
        job = commands.visible_job(session, job_id)
        progress = JobProgress(
            job.id, job.tenant_id, job.status, job.stage, job.progress, job.eta_seconds
        )
        return _FirstLook(progress, job.status in ENDED, has_news(session, job_id, after))


def _stream(frames: AsyncIterator[bytes]) -> Response:
    # Proxies are told not to gather what must arrive at once.
    return StreamingResponse(frames, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})


async def _job_frames(
    feed: EventFeed, context: ApiContext, progress: JobProgress, after: int
) -> AsyncIterator[bytes]:
    async with feed.subscribed(context.core.tenant_id, progress.job_id, after) as subscription:
        yield GREETING
        async for event in _missed(context, subscription, after):
            yield event_frame(event)
            if event.type in FINAL_EVENTS:
                return
        if progress.status == JobStatus.PROCESSING:
            yield progress_frame(progress)
        async for frames in _live(subscription):
            yield frames


async def _all_frames(
    feed: EventFeed, context: ApiContext, after: int | None
) -> AsyncIterator[bytes]:
    async with feed.subscribed(context.core.tenant_id, None, after or 0) as subscription:
        yield GREETING
        if after is not None:
            async for event in _missed(context, subscription, after):
                yield event_frame(event)
        async for frames in _live(subscription):
            yield frames


async def _missed(
    context: ApiContext, subscription: Subscription, after: int
) -> AsyncIterator[Event]:
    """Yield what lies between the last event the reader knows and what the feed will tell."""
    while after < subscription.position:
        found, after = await run_in_threadpool(_page, context, subscription, after)
        for event in found:
            yield event


def _page(context: ApiContext, subscription: Subscription, after: int) -> tuple[list[Event], int]:
    with reading(context.core.engine) as session:
        return replay(session, after=after, until=subscription.position, job_id=subscription.job_id)


async def _live(subscription: Subscription) -> AsyncIterator[bytes]:
    """Yield what the feed tells, or a sign of life, until it ends."""
    while True:
        await subscription.wait(HEARTBEAT_SECONDS)
        frames, final = subscription.take()
        if frames:
            yield frames
        elif not subscription.closed:
            yield HEARTBEAT
        if final or subscription.closed:
            return


def _event_id(header: str | None, query: str | None) -> int | None:
    """Return the last event a reader has seen; the header, which browsers send, goes first."""
    text = header or query
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > MAX_EVENT_ID:
        message = "The Last-Event-ID is none that this service gave out; connect without one."
        raise InvalidRequest(message)
    return int(text)
