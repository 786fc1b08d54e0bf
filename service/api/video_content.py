"""Sends a video's bytes: the whole or one range, from wherever they lie, never all in memory."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from service.api.deps import ApiContext
from service.errors import VideoNotFound, VideoNotReady
from service.ingest.paths import open_below
from service.ingest.ranges import (
    HEAD_BYTES,
    UNKNOWN_TYPE,
    ByteRange,
    disposition_of,
    media_type_of,
    read_range,
)
from service.ingest.tus import http_date
from service.jobs.records import VideoRecord
from service.jobs.states import VideoStatus

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Content:
    """The bytes of one video, wherever they lie.

    Attributes:
        etag: of exactly these bytes, quoted.
        changed_at: when they became what they are.
        read: start and end (exclusive) -> the bytes between, piece by piece.
    """

    size_bytes: int
    etag: str
    changed_at: datetime
    read: Callable[[int, int], Iterator[bytes]]


def content_response(context: ApiContext, request: Request, video: VideoRecord) -> Response:
    """Answer with a video's bytes, or to HEAD with what is known of them.

    Raises:
        VideoNotReady: they were not fetched yet.
        VideoNotFound: they are gone.
        PathRefused: their path may not be read any longer.
        RangeRefused: the range begins behind their end.
    """
    try:
        content = _find(context, video)
        wanted = _wanted(request, content)
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": disposition_of(video.name),
            "Content-Type": _media_type(video, content),
            "ETag": content.etag,
            "Last-Modified": http_date(content.changed_at),
            "Content-Length": str((wanted or _whole(content)).length),
        }
        if wanted is not None:
            headers["Content-Range"] = wanted.header
        status = 200 if wanted is None else 206
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        sent = wanted or _whole(content)
        return StreamingResponse(content.read(sent.start, sent.end), status, headers)
    except FileNotFoundError as error:
        message = "The video's bytes are gone; upload it again."
        raise VideoNotFound(message) from error


def _find(context: ApiContext, video: VideoRecord) -> _Content:
    if video.source == "path":
        return _local_content(video.source_ref or "", context.settings.path_roots)
    if video.blob_key is None:
        reason = video.error_message or "It has not been fetched yet; ask again in a while."
        raise VideoNotReady(reason)
    blobs, key = context.core.blobs, video.blob_key
    return _Content(
        size_bytes=blobs.size(key),
        etag=f'"{video.sha256}"',
        changed_at=video.created_at.replace(microsecond=0),
        read=lambda start, end: blobs.open_range(key, start, end),
    )


def _local_content(path: str, roots: tuple[str, ...]) -> _Content:
    """A file that stays where it is; its owner may change it there at any time."""
    descriptor = open_below(path, roots)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return _Content(
        size_bytes=status.st_size,
        etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
        changed_at=datetime.fromtimestamp(int(status.st_mtime), UTC),
        read=lambda start, end: _pieces(path, roots, start, end),
    )


def _pieces(path: str, roots: tuple[str, ...], start: int, end: int) -> Iterator[bytes]:
    with os.fdopen(open_below(path, roots), "rb", buffering=0) as file:
        file.seek(start)
        while start < end and (piece := file.read(min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece


def _wanted(request: Request, content: _Content) -> ByteRange | None:
    condition = request.headers.get("if-range")
    fresh = (None, content.etag, http_date(content.changed_at))
    header = request.headers.get("range") if condition in fresh else None
    return read_range(header, content.size_bytes)


def _whole(content: _Content) -> ByteRange:
    return ByteRange(0, content.size_bytes, content.size_bytes)


def _media_type(video: VideoRecord, content: _Content) -> str:
    # Only what a decoder took for a video is called one.
    if video.status != VideoStatus.READY:
        return UNKNOWN_TYPE
    return media_type_of(b"".join(content.read(0, HEAD_BYTES)))
