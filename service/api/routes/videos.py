"""/v1/videos: videos, their bytes and thumbnails."""

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from service.api.deps import (
    ID_BODY,
    ApiContext,
    BytesShown,
    SecuredRoute,
    VideoShown,
    VideosRead,
    VideosWrite,
    gate_of,
    ticket_text,
)
from service.api.embed_bodies import TicketBody
from service.api.embeds import TICKET, origins_of
from service.api.schemas import PROBLEMS
from service.api.video_content import content_response
from service.api.video_intake import DOCUMENTATION, take_in
from service.api.videobodies import ThumbnailsPending, VideoDetails, VideoList
from service.embedding.tickets import MAX_LIFETIME_SECONDS, Ticket, sign_ticket
from service.embedding.tokens import Grant, expiry
from service.errors import VideoNotFound, VideoNotReady
from service.ingest import library
from service.ingest.library import VideoFilter
from service.jobs.states import VideoStatus
from service.jobs.store import reading

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50
POLL_HINT_SECONDS = 2
VIDEO_ID = re.compile("vid" + ID_BODY)

router = APIRouter(
    prefix="/v1/videos", tags=["videos"], responses=PROBLEMS, route_class=SecuredRoute
)


def known_video_id(video_id: Annotated[str, Path(description="As given in `id`.")]) -> str:
    """Return a video id that can exist.

    Raises:
        VideoNotFound: no video can have it.
    """
    if not VIDEO_ID.fullmatch(video_id):
        message = "There is no video of this id; ids look like vid_01J9…, as POST /v1/videos says."
        raise VideoNotFound(message)
    return video_id


VideoId = Annotated[str, Depends(known_video_id)]
BYTES: dict[int | str, dict[str, Any]] = {
    code: {
        "description": description,
        "content": {"video/*": {}, "application/octet-stream": {}},
    }
    for code, description in ((200, "The whole video."), (206, "The range asked for."))
}
STRIP: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Pictures from left to right, or with ``info`` what is to be known of them.",
        "content": {"image/jpeg": {}, "application/json": {"schema": {"type": "object"}}},
    },
    202: {"model": ThumbnailsPending, "description": "They are being drawn."},
}


@router.post(
    "",
    status_code=201,
    responses={202: {"model": VideoDetails, "description": "It is going to be fetched."}},
    openapi_extra=DOCUMENTATION,
)
async def post_video(  # noqa: PLR0913 - the query of a request whose body is the video's bytes
    request: Request,
    response: Response,
    context: VideosWrite,
    name: Annotated[str | None, Query(max_length=4096, description="For a plain body.")] = None,
    camera: Annotated[str | None, Query(max_length=255, description="For a plain body.")] = None,
    recorded_at: Annotated[
        str | None,
        Query(max_length=64, description="For a plain body: wall-clock moment of the first frame."),
    ] = None,
    idempotency_key: Annotated[str | None, Header(max_length=240)] = None,
) -> VideoDetails:
    """Upload a video, as a form or as the plain body, or name one by URL or path."""
    said = {"name": name, "camera": camera, "recorded_at": recorded_at}
    video = (await take_in(context, request, said, idempotency_key)).video
    if video.source == "url" and video.blob_key is None:
        response.status_code = 202
        response.headers["Retry-After"] = str(POLL_HINT_SECONDS)
    response.headers["Location"] = f"/v1/videos/{video.id}"
    return VideoDetails.of(video)


@router.get("")
def get_videos(
    context: VideosRead,
    wanted: Annotated[VideoFilter, Depends()],
    page_size: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
    page_token: Annotated[str | None, Query(max_length=200)] = None,
) -> VideoList:
    """List videos, newest first; a page token stays valid."""
    page = library.list_videos(context.core, wanted, page_size, page_token)
    videos = [VideoDetails.of(video) for video in page.videos]
    return VideoList(videos=videos, next_page_token=page.next_page_token)


@router.get("/{video_id}")
def get_video(context: VideoShown, video_id: VideoId) -> VideoDetails:
    """Look at a video."""
    return VideoDetails.of(library.get_video(context.core, video_id))


@router.delete(
    "/{video_id}",
    status_code=204,
    response_class=Response,
    responses={202: {"description": "Out of sight; the rest goes when a worker lets go."}},
)
def delete_video(
    context: VideosWrite,
    video_id: VideoId,
    force: Annotated[bool, Query(description="Cancel the jobs that still need it.")] = False,
) -> Response:
    """Delete a video with its bytes, features, thumbnails, jobs and results.

    204: all of it is gone. 202: a worker still holds one of its jobs and was told to stop; the
    video is out of sight, and the rest is deleted as soon as the worker lets go.
    """
    gone = library.delete_video(context.core, video_id, force=force)
    return Response(status_code=204 if gone else 202)


@router.post("/{video_id}/ticket", status_code=201)
def post_ticket(request: Request, context: VideoShown, video_id: VideoId) -> TicketBody:
    """Make an address of the video's bytes that needs no header, for players, for some minutes.

    A page of another origin gets one that works on that origin alone.
    """
    library.get_video(context.core, video_id)
    text, expires_at = _ticket(request, context, video_id)
    return TicketBody(url=f"/v1/videos/{video_id}/content?{TICKET}={text}", expires_at=expires_at)


def _ticket(request: Request, context: ApiContext, video_id: str) -> tuple[str, datetime]:
    caller = context.caller
    with reading(context.core.engine) as session:
        expires_at = expiry(context.core.clock.now(session), MAX_LIFETIME_SECONDS)
    if caller.grant is not None:
        # What was let in for a while lets nobody else in for longer.
        expires_at = min(expires_at, caller.grant.expires_at)
    grant = Grant(
        caller.tenant_id,
        context.seen_through,
        tuple(origins_of(request.headers)),
        expires_at,
        caller.key_id,
    )
    return sign_ticket(gate_of(request).viewers.signer, Ticket(video_id, grant)), expires_at


@router.get(
    "/{video_id}/content",
    response_class=Response,
    responses=BYTES,
    dependencies=[Depends(ticket_text)],
)
def get_content(request: Request, context: BytesShown, video_id: VideoId) -> Response:
    """Fetch the video itself; ``Range`` asks for a part of it."""
    return content_response(context, request, library.get_video(context.core, video_id))


@router.head(
    "/{video_id}/content",
    response_class=Response,
    responses=BYTES,
    dependencies=[Depends(ticket_text)],
)
def head_content(request: Request, context: BytesShown, video_id: VideoId) -> Response:
    """Say what there is to fetch."""
    return content_response(context, request, library.get_video(context.core, video_id))


@router.get("/{video_id}/thumbnails", response_class=Response, responses=STRIP)
async def get_thumbnails(
    context: VideoShown,
    video_id: VideoId,
    info: Annotated[bool, Query(description="What is to be known of the strip, as JSON.")] = False,
) -> Response:
    """Fetch the thumbnail strip, a JPEG; asked for the first time, it is drawn first."""
    return await run_in_threadpool(_thumbnails, context, video_id, info)


def _thumbnails(context: ApiContext, video_id: str, info: bool) -> Response:
    video = library.get_video(context.core, video_id)
    if video.thumbnails_key is not None:
        try:
            strip = context.core.blobs.get_bytes(video.thumbnails_key)
        except FileNotFoundError:
            pass
        else:
            shape = (video.facts or {}).get("thumbnails")
            return JSONResponse(shape) if info else Response(strip, media_type="image/jpeg")
    if video.status == VideoStatus.FAILED:
        message = f"The video cannot be looked at: {video.error_message}"
        raise VideoNotReady(message)
    library.require_probe(context.core, video_id)
    return JSONResponse(
        ThumbnailsPending().model_dump(), 202, headers={"Retry-After": str(POLL_HINT_SECONDS)}
    )
