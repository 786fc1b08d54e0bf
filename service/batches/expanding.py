"""Finds the items of batches that are a folder or an archive; once, in one transaction."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from service.batches.commands import MAX_ITEMS, NewItem, insert_items, lock_batch
from service.batches.ending import tell_end
from service.batches.files import original_path, printable_name, walk_files
from service.batches.records import BatchRecord
from service.batches.states import BatchSource, BatchStatus, ItemKind
from service.batches.zips import list_members, open_archive
from service.errors import (
    ArchiveRefused,
    InvalidRequest,
    OutageError,
    PathRefused,
    ServiceError,
    VideoNotFound,
)
from service.jobs.commands import JobCore
from service.jobs.records import VideoRecord
from service.jobs.store import reading, transaction

_log = structlog.get_logger(__name__)


def prepare_batch(core: JobCore, batch_id: str, roots: Sequence[str], max_member_bytes: int) -> int:
    """Insert the items of a batch that is being prepared; return how many.

    Args:
        core: bound to the batch's tenant.
        batch_id: of a batch in any state.
        roots: below which folders may be named.
        max_member_bytes: larger members of an archive are refused.

    Raises:
        OutageError: database or storage gave out; nothing was inserted.
    """
    with reading(core.engine) as session:
        batch = session.get(BatchRecord, batch_id)
    if batch is None or not _is_due(batch):
        return 0
    try:
        items = (
            _folder_items(batch, roots)
            if batch.source == BatchSource.FOLDER
            else _archive_items(core, batch, max_member_bytes)
        )
    except OutageError:
        raise
    except ServiceError as error:
        _fail(core, batch_id, error)
        return 0
    with transaction(core.engine) as session:
        locked = lock_batch(session, batch_id)
        if locked is None or not _is_due(locked):
            return 0
        insert_items(session, locked, items)
        locked.status = BatchStatus.PROCESSING
    _log.info("batch_prepared", batch_id=batch_id, num_items=len(items))
    return len(items)


def resolve_folder(text: str, roots: Sequence[str]) -> Path:
    """Return the folder that a request names, links resolved.

    Raises:
        PathRefused: it is not below a root, or is no folder that can be read.
    """
    if not roots:
        message = (
            "This service reads no folders of its own machine; let the operator list some in "
            "KINETAG_PATH_ROOTS, or send the videos."
        )
        raise PathRefused(message)
    named = Path(text)
    if "\0" in text or not named.is_absolute() or ".." in named.parts:
        message = "The folder is no absolute path; give one like /archive/cam3."
        raise PathRefused(message)
    try:
        real = named.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _no_folder(roots) from error
    below = any(real.is_relative_to(Path(root).resolve()) for root in roots)
    if not (below and real.is_dir() and os.access(real, os.R_OK | os.X_OK)):
        raise _no_folder(roots)
    return real


def _no_folder(roots: Sequence[str]) -> PathRefused:
    message = f"There is no folder there that may be read; folders below {', '.join(roots)} may be."
    return PathRefused(message)


def _is_due(batch: BatchRecord) -> bool:
    return (
        batch.status == BatchStatus.PREPARING
        and not batch.cancel_requested
        and not batch.delete_requested
    )


def _folder_items(batch: BatchRecord, roots: Sequence[str]) -> list[NewItem]:
    reference = batch.source_ref or {}
    folder = resolve_folder(reference["path"], roots)
    patterns = tuple(reference.get("pattern") or ())
    found = sorted(printable_name(relative) for relative, _ in walk_files(folder, patterns))
    _check_count(found)
    items = []
    for name in found:
        path = folder / original_path(name)
        try:
            text, size_bytes = str(path), path.stat().st_size
            text.encode()
        except OSError:
            continue  # gone meanwhile
        except UnicodeEncodeError:
            message = "The file's name is no UTF-8; rename it, or upload it."
            items.append(
                NewItem(
                    name, ItemKind.PATH, source=name, error_code=PathRefused.code,
                    error_message=message,
                )
            )  # fmt: skip
            continue
        items.append(NewItem(name, ItemKind.PATH, source=text, size_bytes=size_bytes))
    return items


def _archive_items(core: JobCore, batch: BatchRecord, max_member_bytes: int) -> list[NewItem]:
    reference = batch.source_ref or {}
    key = archive_key(core, reference["video_id"])
    patterns = tuple(reference.get("pattern") or ())
    with core.blobs.open_local(key) as path, open_archive(path) as archive:
        members = list_members(archive, patterns, max_member_bytes)
    _check_count(members)
    return [
        NewItem(
            name=member.name,
            kind=ItemKind.MEMBER,
            source=str(member.index),
            size_bytes=member.size_bytes,
            error_code=ArchiveRefused.code if member.refusal else None,
            error_message=member.refusal or None,
        )
        for member in members
    ]


def archive_key(core: JobCore, video_id: str) -> str:
    """Return where an archive's bytes lie.

    Raises:
        VideoNotFound: it was deleted, or its bytes are not there.
    """
    with reading(core.engine) as session:
        video = session.get(VideoRecord, video_id)
    if video is None or video.blob_key is None:
        message = f"There are no bytes of an archive {video_id}; upload it first."
        raise VideoNotFound(message)
    return video.blob_key


def _check_count(items: Iterable[object]) -> None:
    if len(list(items)) > MAX_ITEMS:
        message = f"A batch holds at most {MAX_ITEMS} items; split this one."
        raise InvalidRequest(message)


def _fail(core: JobCore, batch_id: str, error: ServiceError) -> None:
    _log.warning("batch_refused", batch_id=batch_id, code=error.code, error=str(error))
    with transaction(core.engine) as session:
        batch = lock_batch(session, batch_id)
        if batch is None or not _is_due(batch):
            return
        now = core.clock.now(session)
        batch.status = BatchStatus.FAILED
        batch.error_code, batch.error_message = error.code, str(error)
        batch.completed_at = now
        _announce(session, batch)


def _announce(session: Session, batch: BatchRecord) -> None:
    if batch.completed_at is not None:
        tell_end(session, batch, batch.completed_at)
