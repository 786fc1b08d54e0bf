"""Turns a request into a durable batch: checked, its archive stored, rows committed."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.accounts.quotas import check_quota_bytes
from service.api.batchbodies import BatchItemWish, BatchRequest, BatchWish
from service.api.bodies import content_length, drain, media_type, read_document, upload_limits
from service.api.deps import ApiContext
from service.api.jobbodies import JobOptions, JobWish, flat_schema
from service.api.submission import check_printable, choose_model
from service.api.uploads import ReceivedUpload, UploadReceiver
from service.batches.commands import NewBatch, NewItem, create_batch
from service.batches.expanding import resolve_folder
from service.batches.files import printable_name
from service.batches.states import BatchSource, ItemKind
from service.batches.zips import open_archive
from service.cards import find_model
from service.errors import (
    InvalidOption,
    InvalidRequest,
    MediaTypeUnsupported,
    RequestError,
)
from service.jobs.commands import JobCore
from service.jobs.store import new_id, reading
from service.jobs.videos import NewContent, NewVideo, visible_video
from service.outbound import OutboundPolicy, check_url
from service.settings import Settings
from service.storage import video_key

ARCHIVE_FIELD = "archive"
JSON_FIELDS = ("options", "pattern", "webhook")
"""Fields of a form that hold JSON; a webhook may be a plain URL too."""

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
"""A hundred thousand items of some hundred characters."""

Wish = TypeVar("Wish", bound=BatchWish)

BATCH_DOCUMENTATION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": flat_schema(BatchRequest)},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [ARCHIVE_FIELD],
                    "properties": {
                        ARCHIVE_FIELD: {
                            "type": "string",
                            "format": "binary",
                            "description": "A ZIP archive of videos.",
                        },
                        **{
                            name: {"type": "string", "description": description}
                            for name, description in (
                                ("model", "NAME[@VERSION][:SPEED]"),
                                ("options", "As JSON, the same as in a JSON body."),
                                ("queue", "interactive or batch."),
                                ("name", "What to call the batch."),
                                ("tag", "Yours; given to every job of the batch."),
                                ("camera", "Where the videos were recorded."),
                                ("pattern", 'As JSON: ["*.mp4"].'),
                                ("webhook", "A URL, or JSON as in a JSON body."),
                            )
                        },
                    },
                }
            },
        },
    }
}


async def submit_batch(
    context: ApiContext, request: Request, idempotency_key: str | None
) -> tuple[str, bool]:
    """Make the batch that a request asks for.

    Returns:
        Its id, and whether it is new: a repeated Idempotency-Key returns the one it made.

    Raises:
        RequestError: the request cannot be used.
        StorageFull: there is no space for the archive.
    """
    stream = request.stream()
    try:
        check_printable(idempotency_key)
        match media_type(request):
            case "application/json":
                patience = context.settings.upload_stall_seconds
                document = await read_document(stream, MAX_DOCUMENT_BYTES, patience)
                return await run_in_threadpool(_refer, context, document, idempotency_key)
            case "multipart/form-data":
                return await _receive(context, request, stream, idempotency_key)
            case _:
                message = (
                    "Describe the batch in application/json, or send a ZIP archive as "
                    "multipart/form-data."
                )
                raise MediaTypeUnsupported(message)
    except RequestError:
        await drain(request, stream)
        raise


def _refer(context: ApiContext, document: bytes, idempotency_key: str | None) -> tuple[str, bool]:
    wish = _checked(BatchRequest, document)
    settings, core = context.settings, context.core
    asked = replace(_described(wish, settings), idempotency_key=idempotency_key)
    if wish.folder is not None:
        resolve_folder(wish.folder, settings.path_roots)
        reference: dict[str, Any] = {"path": wish.folder, "pattern": wish.pattern}
        asked = replace(asked, source=BatchSource.FOLDER, source_ref=reference)
    elif wish.zip_video_id is not None:
        _require_archive(core, wish.zip_video_id)
        reference = {"video_id": wish.zip_video_id, "pattern": wish.pattern, "owned": False}
        asked = replace(asked, source=BatchSource.ARCHIVE, source_ref=reference)
    else:
        asked = replace(asked, items=_items(wish.items or (), settings))
    return create_batch(core, asked)


async def _receive(
    context: ApiContext,
    request: Request,
    stream: AsyncIterator[bytes],
    idempotency_key: str | None,
) -> tuple[str, bool]:
    announced = content_length(request)
    if idempotency_key is None:
        # A repeated request brings nothing new: there the transaction decides.
        await run_in_threadpool(check_quota_bytes, context.core, announced or 0)
    limits = await run_in_threadpool(upload_limits, context)
    receiver = UploadReceiver(
        context.settings.temporary_folder,
        request.headers.get("content-type", ""),
        announced,
        limits,
        file_field=ARCHIVE_FIELD,
    )
    async with receiver:
        upload = await receiver.receive(stream)
        return await run_in_threadpool(_store, context, upload, idempotency_key)


def _store(
    context: ApiContext, upload: ReceivedUpload, idempotency_key: str | None
) -> tuple[str, bool]:
    """Keep an archive and make its batch; one that was sent before is not kept twice."""
    wish = _wish_of_form(upload.fields)
    open_archive(upload.path).close()  # what is no archive is refused here, not later
    video_id = new_id("vid")
    content = NewContent(upload.sha256, upload.size_bytes, video_key(video_id))
    asked = replace(
        _described(wish, context.settings),
        source=BatchSource.ARCHIVE,
        source_ref={"video_id": video_id, "pattern": wish.pattern, "owned": True},
        archive=NewVideo(upload.name, content, video_id=video_id),
        idempotency_key=idempotency_key,
    )
    context.core.blobs.put_file(content.blob_key, Path(upload.path))
    return create_batch(context.core, asked)


def _described(wish: BatchWish, settings: Settings) -> NewBatch:
    """Return what is asked for, without where its videos are."""
    model, options = choose_model(JobWish(model=wish.model, options=wish.options), settings)
    webhook = wish.webhook_wish()
    if webhook is not None:
        check_url(webhook["url"], OutboundPolicy.of(settings))
    summary, _ = find_model(model, settings.model_folders)
    own_speed = model == summary.identity
    return NewBatch(
        model=model,
        options=options,
        # Another speed's recipe is not on the summary; its jobs are told apart by their model.
        recipe=summary.recipe_digest if own_speed else None,
        name=wish.name,
        tag=wish.tag,
        camera=wish.camera,
        queue=wish.queue,
        webhook=webhook,
    )


def _items(wishes: Sequence[BatchItemWish], settings: Settings) -> tuple[NewItem, ...]:
    policy = OutboundPolicy.of(settings)
    items = []
    for position, wish in enumerate(wishes):
        if wish.url is not None:
            try:
                check_url(wish.url, policy)
            except RequestError as error:
                message = f"items.{position}: {error}"
                raise type(error)(message) from error
        items.append(_item(wish))
    return tuple(items)


def _item(wish: BatchItemWish) -> NewItem:
    kind, source, name = ItemKind.VIDEO, None, wish.video_id or ""
    if wish.url is not None:
        parts = urlsplit(wish.url)
        last = unquote(PurePosixPath(parts.path).name, errors="replace")
        kind, source, name = ItemKind.URL, wish.url, last or parts.hostname or "video"
    elif wish.path is not None:
        kind, source, name = ItemKind.PATH, wish.path, PurePosixPath(wish.path).name
    return NewItem(
        name=wish.name or printable_name(name),
        kind=kind,
        source=source,
        video_id=wish.video_id,
        tag=wish.tag,
        camera=wish.camera,
        recorded_at=wish.recorded_at,
    )


def _require_archive(core: JobCore, video_id: str) -> None:
    with reading(core.engine) as session:
        video = visible_video(session, video_id)
    if video.blob_key is None:
        message = f"The bytes of {video_id} are not stored here; upload the archive."
        raise InvalidRequest(message)


def _wish_of_form(fields: Mapping[str, str]) -> BatchWish:
    # An empty field of a web form is one that was left out.
    given: dict[str, Any] = {name: text for name, text in fields.items() if text}
    for name in JSON_FIELDS:
        text = given.get(name, "")
        if text and (name != "webhook" or text.lstrip().startswith("{")):
            try:
                given[name] = json.loads(text)
            except (ValueError, RecursionError) as error:
                message = f"The field {name!r} is no JSON document."
                raise InvalidRequest(message) from error
    return _checked(BatchWish, given)


def _checked(kind: type[Wish], given: bytes | Mapping[str, Any]) -> Wish:
    """Return a wish that is of its form.

    Raises:
        InvalidRequest: it is not; the message names the first thing that is wrong.
    """
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"]]
    reason = first["msg"].removeprefix("Value error, ")
    if place[:1] != ["options"] or len(place) == 1:
        message = f"{'.'.join(place) or 'The request'}: {reason}."
        raise InvalidRequest(message)
    name = ".".join(place[1:])
    if first["type"] == "extra_forbidden":
        reason = f"there is none of this name; choose from {', '.join(JobOptions.model_fields)}"
    message = f"The option {name} cannot be used: {reason}."
    raise InvalidOption(message)
