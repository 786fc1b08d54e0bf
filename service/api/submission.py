"""Turns an upload request into a durable job: form in, blob stored, rows committed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from service.api.deps import ApiContext
from service.api.schemas import JobOptions
from service.api.uploads import ReceivedUpload, UploadLimits, UploadReceiver
from service.cards import ModelSummary, find_model
from service.errors import InvalidRequest, RequestError
from service.jobs.commands import JobView, NewJob, create_job
from service.jobs.store import new_id
from service.jobs.videos import NewContent, NewVideo
from service.settings import Settings
from service.storage import free_bytes, free_floor_bytes, video_key

FIELDS = frozenset({"model", "options", "tag"})
MAX_TAG_CHARACTERS = 255
DRAIN_BYTES = 8 * 1024 * 1024
"""Read and dropped after a refusal, so that a small client sees the answer, not a broken pipe."""

DRAIN_SECONDS = 2.0

FORM_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["video"],
                    "properties": {
                        "video": {"type": "string", "format": "binary"},
                        "model": {"type": "string", "description": "NAME[@VERSION][:SPEED]"},
                        "options": {
                            "type": "string",
                            "description": (
                                'JSON: {"labels": [...], "min_score": 0.5, "speed": "fast"}'
                            ),
                        },
                        "tag": {"type": "string", "description": "Yours; given back as it is."},
                    },
                }
            }
        },
    }
}


async def submit(context: ApiContext, request: Request, idempotency_key: str | None) -> JobView:
    """Receive an upload and queue a job for it.

    Raises:
        RequestError: the request, its form or its model cannot be used.
        StorageFull: there is no space for the video.
    """
    settings = context.settings
    limits = UploadLimits(
        max_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_seconds,
        spare_bytes=lambda: _spare_bytes(settings),
    )
    stream = request.stream()
    try:
        _check_printable("Idempotency-Key", idempotency_key)
        receiver = UploadReceiver(
            settings.temporary_folder,
            request.headers.get("content-type", ""),
            _content_length(request),
            limits,
        )
        async with receiver:
            upload = await receiver.receive(stream)
            return await run_in_threadpool(_store, context, upload, idempotency_key)
    except RequestError:
        await _drain(request, stream)
        raise


def preferred_wait_seconds(prefer: str | None) -> float:
    """Return the seconds of ``Prefer: wait=N`` (RFC 7240); 0 without one."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "")
    return float(match.group(1)) if match else 0.0


def _store(context: ApiContext, upload: ReceivedUpload, idempotency_key: str | None) -> JobView:
    unknown = sorted(upload.fields.keys() - FIELDS)
    if unknown:
        message = f"The form has the unknown field {unknown[0]!r}; use video, model, options, tag."
        raise InvalidRequest(message)
    settings = context.settings
    spec = upload.fields.get("model") or settings.default_model
    options = _options(upload.fields.get("options"))
    model, full_name = find_model(spec, settings.model_folders, options.get("speed", ""))
    _check_labels(options, model)
    tag = upload.fields.get("tag") or None
    _check_printable("tag", tag)
    if tag is not None and len(tag) > MAX_TAG_CHARACTERS:
        message = f"The tag is longer than {MAX_TAG_CHARACTERS} characters."
        raise InvalidRequest(message)
    video_id = new_id("vid")
    key = video_key(video_id)
    # First the bytes reach the disk, then the rows: never a row without its video.
    context.core.blobs.put_file(key, Path(upload.path))
    video = NewVideo(
        name=upload.name,
        content=NewContent(upload.sha256, upload.size_bytes, key),
        video_id=video_id,
    )
    new_job = NewJob(
        video=video,
        model=full_name,
        options=options,
        tag=tag,
        idempotency_key=idempotency_key,
    )
    return create_job(context.core, new_job)[0]


def _options(text: str | None) -> dict[str, Any]:
    try:
        options = JobOptions.model_validate_json(text or "{}")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(("options", *map(str, first["loc"])))
        message = f"{where}: {first['msg']}."
        raise InvalidRequest(message) from error
    return json.loads(options.model_dump_json(exclude_defaults=True)) if text else {}


def _check_labels(options: dict[str, Any], model: ModelSummary) -> None:
    unknown = sorted(set(options.get("labels") or ()) - set(model.classes))
    if unknown:
        message = f"options.labels: {model.identity} knows no {unknown[0]!r}; see GET /v1/models."
        raise InvalidRequest(message)


def _check_printable(name: str, value: str | None) -> None:
    if value is not None and not value.isprintable():
        message = f"The {name} holds characters that cannot be printed."
        raise InvalidRequest(message)


def _spare_bytes(settings: Settings) -> int:
    return free_bytes(settings.data_dir) - free_floor_bytes(settings)


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else None


async def _drain(request: Request, stream: AsyncIterator[bytes]) -> None:
    announced = _content_length(request) or 0
    # Who waits for "100 Continue" has sent nothing, and reading would ask for it.
    if "expect" in request.headers or announced > DRAIN_BYTES:
        return
    drained = 0
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in stream:
                drained += len(chunk)
                if drained > DRAIN_BYTES:
                    return
    except (TimeoutError, ClientDisconnect):
        return
