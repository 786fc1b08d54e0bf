"""Turns a request that brings or names a video into a video: bytes stored, rows committed."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.accounts.quotas import check_quota_bytes, hold_quota_bytes
from service.api.bodies import content_length, drain, media_type, read_document, upload_limits
from service.api.deps import ApiContext
from service.api.uploads import ReceivedUpload, UploadReceiver
from service.api.videobodies import VideoReference
from service.errors import InvalidRequest, MediaTypeUnsupported, RequestError
from service.ingest.moments import checked_moment, read_moment
from service.ingest.names import FALLBACK_NAME, display_name
from service.ingest.paths import resolve_path
from service.jobs.commands import JobView, NewJob, create_job
from service.jobs.states import JobKind
from service.jobs.store import new_id
from service.jobs.videos import NewContent, NewVideo
from service.outbound import OutboundPolicy, check_url
from service.storage import video_key

MAX_REFERENCE_BYTES = 64 * 1024
MAX_CAMERA_CHARACTERS = 255
FORM = "multipart/form-data"
REFERENCE = "application/json"
KEY_SPACE = "videos:"
"""Before an Idempotency-Key: one that made a job is another one than the same for a video."""

WORDS = ("camera", "recorded_at")
"""What may be said beside a video."""

DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {
                        "video": {"type": "string", "format": "binary"},
                        "camera": {"type": "string", "description": "Where it was recorded."},
                        "recorded_at": {
                            "type": "string",
                            "format": "date-time",
                            "description": "Wall-clock moment of the first frame.",
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "video/*": {"schema": {"type": "string", "format": "binary"}},
            REFERENCE: {"schema": VideoReference.model_json_schema()},
        },
    }
}


async def take_in(
    context: ApiContext, request: Request, said: Mapping[str, str | None], key: str | None
) -> JobView:
    """Make a video of a request, and a hidden job that looks at it.

    Args:
        context: of the caller.
        request: with a form, plain bytes or a JSON reference.
        said: ``name``, ``camera`` and ``recorded_at`` of the query, for plain bytes.
        key: Idempotency-Key.

    Raises:
        RequestError: the request cannot be used.
        StorageFull: there is no space for the video, or no quota.
    """
    kind = media_type(request)
    stream = request.stream()
    try:
        _check_key(key)
        if kind == REFERENCE:
            patience = context.settings.upload_stall_seconds
            document = await read_document(stream, MAX_REFERENCE_BYTES, patience)
            return await run_in_threadpool(_refer, context, document, key)
        raw = kind.startswith("video/") or kind == "application/octet-stream"
        if not raw and kind != FORM:
            message = (
                "Send the video as multipart/form-data, as the plain body with a Content-Type of "
                "video/* or application/octet-stream, or name it in application/json."
            )
            raise MediaTypeUnsupported(message)
        announced = content_length(request)
        if key is None:
            # A repeated request brings nothing new: there the transaction decides.
            await run_in_threadpool(check_quota_bytes, context.core, announced or 0)
        limits = await run_in_threadpool(upload_limits, context)
        receiver = UploadReceiver(
            context.settings.temporary_folder,
            request.headers.get("content-type", ""),
            announced,
            limits,
            _raw_name(request, said) if raw else None,
        )
        async with receiver:
            upload = await receiver.receive(stream)
            words = said if raw else upload.fields
            return await run_in_threadpool(_store, context, upload, words, key)
    except RequestError:
        await drain(request, stream)
        raise


def _store(
    context: ApiContext, upload: ReceivedUpload, words: Mapping[str, str | None], key: str | None
) -> JobView:
    unknown = sorted(upload.fields.keys() - set(WORDS))
    if unknown:
        message = f"The form has the unknown field {unknown[0]!r}; use video, camera, recorded_at."
        raise InvalidRequest(message)
    camera, recorded_at = _camera(words.get("camera")), read_moment(words.get("recorded_at"))
    video_id = new_id("vid")
    blob_key = video_key(video_id)
    # First the bytes reach the disk, then the rows: never a row without its video.
    context.core.blobs.put_file(blob_key, Path(upload.path))
    video = NewVideo(
        name=upload.name,
        content=NewContent(upload.sha256, upload.size_bytes, blob_key),
        kept=True,
        camera=camera,
        recorded_at=recorded_at,
        video_id=video_id,
    )
    return _create(context, video, key)


def _refer(context: ApiContext, document: bytes, key: str | None) -> JobView:
    try:
        reference = VideoReference.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        message = f"{where}: {first['msg']}."
        raise InvalidRequest(message) from error
    camera = _camera(reference.camera)
    settings = context.settings
    if reference.url is not None:
        check_url(reference.url, OutboundPolicy.of(settings))
        source, target = "url", reference.url
        name = unquote(PurePosixPath(urlsplit(target).path).name, errors="replace")
    else:
        local = resolve_path(reference.path or "", settings.path_roots)
        source, target = "path", str(local.path)
        name = local.path.name
    video = NewVideo(
        name=display_name(reference.name or name),
        source=source,
        source_ref=target,
        kept=True,
        camera=camera,
        recorded_at=checked_moment(reference.recorded_at),
    )
    return _create(context, video, key)


def _create(context: ApiContext, video: NewVideo, key: str | None) -> JobView:
    probe = NewJob(
        video=video,
        model="",
        camera=video.camera,
        recorded_at=video.recorded_at,
        idempotency_key=None if key is None else KEY_SPACE + key,
        kind=JobKind.PROBE,
    )
    return create_job(context.core, probe, hold_quota_bytes)[0]


def _raw_name(request: Request, said: Mapping[str, str | None]) -> str:
    if said.get("name"):
        return said["name"] or FALLBACK_NAME
    disposition = request.headers.get("content-disposition", "")
    _, options = parse_options_header(disposition)
    return options.get(b"filename", b"").decode(errors="replace") or FALLBACK_NAME


def _check_key(key: str | None) -> None:
    if key is not None and not key.isprintable():
        message = "The Idempotency-Key holds characters that cannot be printed."
        raise InvalidRequest(message)


def _camera(text: str | None) -> str | None:
    if text is not None and not (text.isprintable() and len(text) <= MAX_CAMERA_CHARACTERS):
        message = f"The camera is not up to {MAX_CAMERA_CHARACTERS} printable characters."
        raise InvalidRequest(message)
    return text or None
