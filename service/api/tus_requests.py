"""tus over HTTP: its headers on every answer, its requests turned into uploads and chunks."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Path
from starlette.requests import Request
from starlette.responses import Response

from service.api.bodies import content_length, drain, media_type
from service.api.deps import ID_BODY, ApiContext, SecuredRoute
from service.api.receiving import SteadyBody, UploadLimits, too_large
from service.api.tus_chunks import Chunk, RunningHashes, append_chunk
from service.errors import (
    EmptyUpload,
    MediaTypeUnsupported,
    MethodRefused,
    ProtocolRefused,
    RequestError,
    ServiceError,
    UploadNotFound,
)
from service.ingest import tus, uploads
from service.ingest.records import UploadRecord
from service.ingest.space import free_above_floor_bytes
from service.ingest.tus import Checksum
from service.ingest.uploads import UploadDesk, UploadView
from service.settings import Settings

SPOKEN = {"Tus-Resumable": tus.VERSION}
WITHOUT_VERSION = frozenset({"GET", "OPTIONS"})
"""Requests that are not tus, or ask what tus is spoken."""

CORS_METHODS = ("HEAD", "PATCH")
CORS_REQUEST_HEADERS = (
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Checksum",
    "X-HTTP-Method-Override",
    "X-Requested-With",
)
CORS_EXPOSED_HEADERS = (
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Expires",
    "Kinetag-Video",
)
"""What pages of allowed origins may send, and may read of the answers."""

UPLOAD_ID = re.compile("upl" + ID_BODY)
CHUNK_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "content": {tus.CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}},
    }
}


class TusRoute(SecuredRoute):
    """A route that speaks one version of tus, and says so with every answer and refusal."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler with the protocol around it."""
        handle = super().get_route_handler()

        async def speak(request: Request) -> Response:
            try:
                if request.method == "POST" and "upload_id" in request.path_params:
                    overridden(request)
                if request.method not in WITHOUT_VERSION:
                    _require_version(request)
                response = await handle(request)
            except ServiceError as error:
                error.headers = {**error.headers, **SPOKEN}
                raise
            response.headers.update(SPOKEN)
            return response

        return speak


def _require_version(request: Request) -> None:
    if request.headers.get("tus-resumable") != tus.VERSION:
        message = f"This address speaks tus {tus.VERSION}; send Tus-Resumable: {tus.VERSION}."
        error = ProtocolRefused(message)
        error.headers = {"Tus-Version": tus.VERSION}
        raise error


def known_upload_id(upload_id: Annotated[str, Path(description="As given in Location.")]) -> str:
    """Return an upload id that can exist.

    Raises:
        UploadNotFound: no upload can have it.
    """
    if not UPLOAD_ID.fullmatch(upload_id):
        message = "There is no upload of this id; POST /v1/uploads begins one."
        raise UploadNotFound(message)
    return upload_id


UploadId = Annotated[str, Depends(known_upload_id)]


def desk_of(context: ApiContext) -> UploadDesk:
    """Return what commands about the caller's uploads stand on."""
    return UploadDesk.of(context.core, context.settings)


def hashes_of(request: Request) -> RunningHashes:
    """Return the hashes of uploads under way that this process remembers."""
    state = request.app.state
    if not hasattr(state, "upload_hashes"):
        state.upload_hashes = RunningHashes()
    hashes: RunningHashes = state.upload_hashes
    return hashes


def abilities(settings: Settings) -> dict[str, str]:
    """Return the headers that tell a client what is offered."""
    return {
        "Tus-Version": tus.VERSION,
        "Tus-Extension": ",".join(tus.EXTENSIONS),
        "Tus-Max-Size": str(settings.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUMS),
    }


async def begin(context: ApiContext, request: Request) -> Response:
    """Begin an upload, with its first bytes where the request brings some.

    Raises:
        LengthRequired: it does not say how long the upload is going to be.
        EmptyUpload: nothing is to be uploaded.
        UploadTooLarge: more than the limit is.
        StorageFull: there is no space for it, or no quota.
        InvalidRequest: a header is malformed.
        MediaTypeUnsupported: it brings bytes of another media type than tus has.
    """
    headers = request.headers
    settings = context.settings
    stream = request.stream()
    try:
        length_bytes = tus.read_length(
            headers.get("upload-length"), headers.get("upload-defer-length")
        )
        said = tus.read_metadata(headers.get("upload-metadata"))
        checksum = tus.read_checksum(headers.get("upload-checksum"))
        _require_length(length_bytes, settings)
        brings = _brings_bytes(request)
        spare_bytes = await asyncio.to_thread(free_above_floor_bytes, settings)
        upload = await asyncio.to_thread(
            uploads.begin_upload, desk_of(context), said, length_bytes, spare_bytes
        )
    except RequestError:
        await drain(request, stream)
        raise
    where = {"Location": f"/v1/uploads/{upload.id}"}
    if brings:
        try:
            upload = await _append(context, request, upload.id, 0, checksum)
        except ServiceError as error:
            # The upload exists: the client can go on with it.
            error.headers = {**error.headers, **where}
            raise
    return Response(status_code=201, headers={**upload_headers(upload), **where})


async def go_on(context: ApiContext, request: Request, upload_id: str) -> Response:
    """Receive the next chunk of an upload.

    Raises:
        MediaTypeUnsupported: the body is not declared as tus wants it.
        InvalidRequest: a header is malformed.
        ServiceError: as `service.api.tus_chunks.append_chunk` does.
    """
    if media_type(request) != tus.CONTENT_TYPE:
        message = f"Send the chunk with Content-Type: {tus.CONTENT_TYPE}."
        raise MediaTypeUnsupported(message)
    offset = tus.read_offset(request.headers.get("upload-offset"))
    checksum = tus.read_checksum(request.headers.get("upload-checksum"))
    upload = await _append(context, request, upload_id, offset, checksum)
    return Response(status_code=204, headers=upload_headers(upload))


async def _append(
    context: ApiContext,
    request: Request,
    upload_id: str,
    offset: int,
    checksum: Checksum | None,
) -> UploadRecord:
    settings = context.settings
    limits = UploadLimits(
        max_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_seconds,
        spare_bytes=lambda: free_above_floor_bytes(settings),
    )
    stream = request.stream()
    body = SteadyBody(stream, limits)
    chunk = Chunk(upload_id, offset, content_length(request), checksum, body)
    try:
        return await append_chunk(desk_of(context), chunk, hashes_of(request))
    except RequestError:
        await drain(request, stream)
        raise


def look(context: ApiContext, upload_id: str) -> UploadView:
    """Return an upload; one whose bytes are all there becomes a video if it is not yet.

    Raises:
        UploadNotFound: there is none.
        UploadExpired: it was left unfinished for too long.
        UploadLocked: its last request is making a video of it.
    """
    desk = desk_of(context)
    view = uploads.look_at_upload(desk, upload_id)
    return uploads.settle_upload(desk, upload_id) if view.unsettled else view


def upload_headers(upload: UploadRecord, offset_bytes: int | None = None) -> dict[str, str]:
    """Return the headers that tell how far an upload is."""
    offset = upload.offset_bytes if offset_bytes is None else offset_bytes
    headers = {"Upload-Offset": str(offset)}
    if upload.completed_at is None:
        headers["Upload-Expires"] = tus.http_date(upload.expires_at)
    else:
        headers["Kinetag-Video"] = upload.video_id
    return headers


def overridden(request: Request) -> str:
    """Return the method that a client behind a narrow proxy means by its POST.

    Raises:
        MethodRefused: it means none that an upload has.
    """
    method = request.headers.get("x-http-method-override", "POST").upper()
    if method not in {"PATCH", "DELETE"}:
        error = MethodRefused("An upload knows no POST; send PATCH for its next bytes.")
        error.headers = {"Allow": "HEAD, GET, PATCH, DELETE, OPTIONS"}
        raise error
    return method


def _require_length(length_bytes: int, settings: Settings) -> None:
    if length_bytes == 0:
        message = "The upload is to have 0 bytes; send a video with content."
        raise EmptyUpload(message)
    if length_bytes > settings.max_upload_bytes:
        raise too_large(settings.max_upload_bytes)


def _brings_bytes(request: Request) -> bool:
    brings = bool(content_length(request)) or "transfer-encoding" in request.headers
    if brings and media_type(request) != tus.CONTENT_TYPE:
        message = f"Send the first bytes with Content-Type: {tus.CONTENT_TYPE}, or no body."
        raise MediaTypeUnsupported(message)
    return brings
