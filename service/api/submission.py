"""Turns a request into a durable job: video stored or named, rows committed."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import OptionInvalid
from models.overrides import LocalizeOverrides
from service.accounts.quotas import (
    check_quota_bytes,
    check_quota_jobs,
    hold_quota_bytes,
    hold_quota_jobs,
)
from service.api.bodies import content_length, drain, media_type, read_document, upload_limits
from service.api.deps import ApiContext
from service.api.jobbodies import WEBHOOK_FORMS, JobOptions, JobRequest, JobWish
from service.api.uploads import ReceivedUpload, UploadReceiver
from service.cards import ModelSummary, find_model
from service.errors import (
    InvalidOption,
    InvalidRequest,
    MediaTypeUnsupported,
    RequestError,
)
from service.ingest.names import display_name
from service.ingest.paths import resolve_path
from service.jobs.commands import JobCore, JobView, NewJob, create_job
from service.jobs.store import new_id
from service.jobs.videos import NewContent, NewVideo
from service.outbound import OutboundPolicy, check_url
from service.settings import Settings
from service.storage import video_key

MAX_DOCUMENT_BYTES = 256 * 1024
"""More than a thousand labels of 255 characters fit in."""

JSON_FIELDS = ("options", "webhook")
"""Fields of a form that hold JSON; a webhook may be a plain URL too."""


async def submit(context: ApiContext, request: Request, idempotency_key: str | None) -> JobView:
    """Queue a job for the video that a request brings or names.

    Returns:
        The job; for a repeated Idempotency-Key the one that it made.

    Raises:
        RequestError: the request cannot be used.
        StorageFull: there is no space for the video.
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
                    "Send the video as multipart/form-data, or name it in application/json by "
                    "video_id, url or path."
                )
                raise MediaTypeUnsupported(message)
    except RequestError:
        await drain(request, stream)
        raise


def check_printable(idempotency_key: str | None) -> None:
    """Make sure that an Idempotency-Key can be stored and shown.

    Raises:
        InvalidRequest: it cannot.
    """
    if idempotency_key is not None and not idempotency_key.isprintable():
        message = "The Idempotency-Key holds characters that cannot be printed."
        raise InvalidRequest(message)


def preferred_wait_seconds(prefer: str | None) -> float:
    """Return the seconds of ``Prefer: wait=N`` (RFC 7240); 0 without one."""
    match = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", prefer or "")
    return float(match.group(1)) if match else 0.0


def choose_model(wish: JobWish, settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the full name of the model a job names, and its options, checked against it.

    Raises:
        UnknownModel: there is none such.
        InvalidOption: an option does not fit it.
    """
    options = wish.options.given()
    spec = wish.model or settings.default_model
    model, full_name = find_model(spec, settings.model_folders, options.get("speed", ""))
    _check_options(options, model)
    return full_name, options


async def _receive(
    context: ApiContext,
    request: Request,
    stream: AsyncIterator[bytes],
    idempotency_key: str | None,
) -> JobView:
    announced = content_length(request)
    if idempotency_key is None:
        # A repeated request may be over by what it made itself: there the transaction decides.
        await run_in_threadpool(_check_quotas, context.core, announced or 0)
    receiver = UploadReceiver(
        context.settings.temporary_folder,
        request.headers.get("content-type", ""),
        announced,
        await run_in_threadpool(upload_limits, context),
    )
    async with receiver:
        upload = await receiver.receive(stream)
        return await run_in_threadpool(_store, context, upload, idempotency_key)


def _store(context: ApiContext, upload: ReceivedUpload, idempotency_key: str | None) -> JobView:
    wish = _wish_of_form(upload.fields)
    model, options = choose_model(wish, context.settings)
    _check_webhook(wish, context.settings)
    video_id = new_id("vid")
    key = video_key(video_id)
    # First the bytes reach the disk, then the rows: never a row without its video.
    context.core.blobs.put_file(key, Path(upload.path))
    video = NewVideo(
        name=upload.name,
        content=NewContent(upload.sha256, upload.size_bytes, key),
        camera=wish.camera,
        recorded_at=wish.recorded_at,
        video_id=video_id,
    )
    return _create(context.core, wish, video, (model, options), idempotency_key)


def _refer(context: ApiContext, document: bytes, idempotency_key: str | None) -> JobView:
    settings = context.settings
    try:
        wish = JobRequest.model_validate_json(document)
    except ValidationError as error:
        raise _refusal(error) from error
    chosen = choose_model(wish, settings)
    _check_webhook(wish, settings)
    video = wish.video_id or _elsewhere(wish, settings)
    return _create(context.core, wish, video, chosen, idempotency_key)


def _create(
    core: JobCore,
    wish: JobWish,
    video: str | NewVideo,
    chosen: tuple[str, dict[str, Any]],
    idempotency_key: str | None,
) -> JobView:
    model, options = chosen
    new_job = NewJob(
        video=video,
        model=model,
        options=options,
        queue=wish.queue,
        tag=wish.tag,
        camera=wish.camera,
        recorded_at=wish.recorded_at,
        webhook=wish.webhook_wish(),
        idempotency_key=idempotency_key,
    )
    return create_job(core, new_job, hold_quotas)[0]


def hold_quotas(session: Session, core: JobCore) -> None:
    """Refuse, in the transaction that makes them, a job and a video that are over a quota.

    Raises:
        JobQuotaExceeded: roll back.
        BytesQuotaExceeded: roll back.
    """
    hold_quota_jobs(session, core)
    hold_quota_bytes(session, core)


def _check_quotas(core: JobCore, more_bytes: int) -> None:
    check_quota_jobs(core)
    check_quota_bytes(core, more_bytes)


def _elsewhere(wish: JobRequest, settings: Settings) -> NewVideo:
    """Return the video that a request names by URL or path."""
    if wish.url is not None:
        check_url(wish.url, OutboundPolicy.of(settings))
        source, target = "url", wish.url
        name = unquote(PurePosixPath(urlsplit(target).path).name, errors="replace")
    else:
        local = resolve_path(wish.path or "", settings.path_roots)
        source, target, name = "path", str(local.path), local.path.name
    return NewVideo(
        name=display_name(name),
        source=source,
        source_ref=target,
        camera=wish.camera,
        recorded_at=wish.recorded_at,
    )


def _wish_of_form(fields: Mapping[str, str]) -> JobWish:
    unknown = sorted(fields.keys() - JobWish.model_fields.keys())
    if unknown:
        known = ", ".join(("video", *JobWish.model_fields))
        message = f"The form has the unknown field {unknown[0]!r}; use {known}."
        raise InvalidRequest(message)
    # An empty field of a web form is one that was left out.
    given: dict[str, Any] = {name: text for name, text in fields.items() if text}
    for name in JSON_FIELDS:
        text = given.get(name, "")
        if (name == "options" and text) or text.lstrip().startswith("{"):
            given[name] = _json_field(name, text)
    try:
        return JobWish.model_validate(given)
    except ValidationError as error:
        raise _refusal(error) from error


def _json_field(name: str, text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"The field {name!r} is no JSON document."
        raise InvalidRequest(message) from error


def _check_webhook(wish: JobWish, settings: Settings) -> None:
    webhook = wish.webhook_wish()
    if webhook is not None:
        check_url(webhook["url"], OutboundPolicy.of(settings))


def _check_options(options: Mapping[str, Any], model: ModelSummary) -> None:
    try:
        overrides = LocalizeOverrides.from_json(options)
        overrides.check_labels(model.classes)
    except OptionInvalid as error:
        raise InvalidOption(str(error)) from error
    if overrides.thresholds is not None and model.proposal_source == "head":
        message = (
            f"The option thresholds does not apply: {model.identity} proposes intervals by "
            "itself and cuts no curve."
        )
        raise InvalidOption(message)
    if overrides.window_overlap is not None and model.sampling != "native":
        message = (
            f"The option window_overlap does not apply: {model.identity} sees every video whole."
        )
        raise InvalidOption(message)


def _refusal(error: ValidationError) -> InvalidRequest:
    """Return the first of pydantic's complaints as ours."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = [str(part) for part in first["loc"] if part not in WEBHOOK_FORMS]
    reason = first["msg"].removeprefix("Value error, ")
    if place[:1] != ["options"] or len(place) == 1:
        where = ".".join(place) or "The request"
        return InvalidRequest(f"{where}: {reason}.")
    name = ".".join(place[1:])
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(JobOptions.model_fields))
        return InvalidOption(f"There is no option {name}; choose from {known}.")
    return InvalidOption(f"The option {name} cannot be used: {reason}.")
