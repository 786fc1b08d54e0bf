"""Resumable uploads: begin, lock, go on, complete, end, expire.

The row says how much is known to have reached the disk, the file has the bytes. A row's lock
belongs to one request and runs out by itself, so that a process that dies blocks nobody for long.
A complete upload becomes a video in two steps, first its bytes in the blob store, then the rows;
after a crash between the two, whoever looks at the upload next makes up for the second.
"""

import hashlib
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from service.accounts.quotas import hold_quota_bytes
from service.errors import (
    OffsetConflict,
    OutageError,
    StorageFull,
    UploadExpired,
    UploadLocked,
    UploadNotFound,
)
from service.ingest.files import LOCKED_MESSAGE, begin_file
from service.ingest.records import UploadRecord
from service.ingest.tus import Metadata
from service.jobs.commands import JobCore, NewJob, insert_job
from service.jobs.states import JobKind
from service.jobs.store import CROCKFORD, ID_CHARACTERS, new_id, reading, transaction
from service.jobs.tenancy import ALL_TENANTS
from service.jobs.videos import NewContent, NewVideo
from service.settings import Settings
from service.storage import video_key

LOCK_SECONDS = 5.0
"""How long a request that gives no sign of life keeps others out; it gives one every second. So
long a client waits after a crash; tus-js-client tries for 9 s by itself."""

HASH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class UploadDesk:
    """What the commands about uploads stand on.

    Attributes:
        core: bound to the tenant whose uploads these are.
        folder: of the unfinished files; on the file system of the blobs.
        expires_seconds: how long an upload may rest.
    """

    core: JobCore
    folder: Path
    expires_seconds: float

    @classmethod
    def of(cls, core: JobCore, settings: Settings) -> "UploadDesk":
        """Return the desk of a deployment for the tenant that a core is bound to, or for all."""
        return cls(core, settings.uploads_folder, settings.upload_expires_seconds)

    def path(self, upload_id: str) -> Path:
        """Return where an upload's bytes lie until it is complete."""
        return self.folder / upload_id


@dataclass(frozen=True, slots=True)
class UploadView:
    """An upload as of one moment.

    Attributes:
        offset_bytes: where the next byte goes.
        unsettled: all bytes are there, or they have left the folder, yet it is no video.
    """

    upload: UploadRecord
    offset_bytes: int
    unsettled: bool


@dataclass(frozen=True, slots=True)
class UploadLock:
    """The right of one request to write to an upload.

    Attributes:
        token: proves it; void once it ran out and somebody else took another one.
        upload: as of the moment when it was given.
    """

    token: str
    upload: UploadRecord


def begin_upload(
    desk: UploadDesk, said: Metadata, length_bytes: int, spare_bytes: int
) -> UploadRecord:
    """Begin an upload and reserve its space.

    Args:
        desk: of the tenant.
        said: by the client about its file.
        length_bytes: at least 1.
        spare_bytes: free space that uploads may fill; other uploads have reserved part of it.

    Raises:
        StorageFull: there is not enough space.
        BytesQuotaExceeded: the tenant may not store so much.
    """
    with transaction(desk.core.engine) as session:
        now = desk.core.clock.now(session)
        upload = UploadRecord(
            id=_new_upload_id(),
            tenant_id=desk.core.tenant_id,
            video_id=new_id("vid"),
            name=said.name,
            camera=said.camera,
            recorded_at=said.recorded_at,
            said=said.header,
            length_bytes=length_bytes,
            offset_bytes=0,
            created_at=now,
            expires_at=now + timedelta(seconds=desk.expires_seconds),
        )
        session.add(upload)
        session.flush()
        hold_quota_bytes(session, desk.core)
        if reserved_bytes(session, now) > spare_bytes:
            message = (
                "There is not enough free disk space for this upload; delete videos that are no "
                "longer needed, or ask the operator for space."
            )
            raise StorageFull(message)
        # Before the commit: a row without a file would look like one whose bytes were lost.
        begin_file(desk.path(upload.id))
        return upload


def reserved_bytes(session: Session, now: datetime) -> int:
    """Return the bytes that uploads of all tenants may still bring."""
    missing = func.sum(UploadRecord.length_bytes - UploadRecord.offset_bytes)
    statement = select(missing).where(
        UploadRecord.completed_at.is_(None), UploadRecord.expires_at > now
    )
    return int(session.execute(statement.execution_options(**ALL_TENANTS)).scalar_one() or 0)


def look_at_upload(desk: UploadDesk, upload_id: str) -> UploadView:
    """Return an upload.

    Raises:
        UploadNotFound: there is none.
        UploadExpired: it was left unfinished for too long.
    """
    with reading(desk.core.engine) as session:
        upload = _visible(session, upload_id, desk.core.clock.now(session))
    return _view(desk, upload)


def lock_upload(desk: UploadDesk, upload_id: str) -> UploadLock:
    """Take the lock of an upload, whose expiry starts anew.

    Raises:
        UploadNotFound: there is none.
        UploadExpired: it was left unfinished for too long.
        UploadLocked: another request has it; that one lets go soon unless bytes arrive.
    """
    token = new_id("lock")
    with transaction(desk.core.engine) as session:
        now = desk.core.clock.now(session)
        _visible(session, upload_id, now)
        free = or_(UploadRecord.lock_until.is_(None), UploadRecord.lock_until <= now)
        taken = session.execute(
            update(UploadRecord)
            .where(UploadRecord.id == upload_id, free)
            .values(
                lock_token=token,
                lock_until=now + timedelta(seconds=LOCK_SECONDS),
                lock_wanted=False,
                expires_at=now + timedelta(seconds=desk.expires_seconds),
            )
            .execution_options(synchronize_session=False)
        )
        if taken.rowcount == 1:  # type: ignore[attr-defined]  # an update has one
            session.expire_all()
            return UploadLock(token, session.get_one(UploadRecord, upload_id))
        session.execute(
            update(UploadRecord)
            .where(UploadRecord.id == upload_id)
            .values(lock_wanted=True)
            .execution_options(synchronize_session=False)
        )
    raise UploadLocked(LOCKED_MESSAGE)


def keep_lock(desk: UploadDesk, lock: UploadLock, offset_bytes: int | None) -> bool:
    """Renew a lock, and note how much has reached the disk unless that is None.

    Returns:
        Whether another request waits for the lock.

    Raises:
        UploadLocked: the lock ran out, and somebody else has it.
    """
    with transaction(desk.core.engine) as session:
        now = desk.core.clock.now(session)
        upload = _held(session, lock)
        upload.lock_until = now + timedelta(seconds=LOCK_SECONDS)
        upload.expires_at = now + timedelta(seconds=desk.expires_seconds)
        if offset_bytes is not None:
            upload.offset_bytes = offset_bytes
        return upload.lock_wanted


def free_lock(desk: UploadDesk, lock: UploadLock, offset_bytes: int | None) -> None:
    """Give a lock back, noting how much has reached the disk; one that was lost is no error."""
    with transaction(desk.core.engine) as session:
        try:
            upload = _held(session, lock)
        except (UploadLocked, UploadNotFound):
            return
        upload.lock_token = upload.lock_until = None
        upload.lock_wanted = False
        if offset_bytes is not None and upload.completed_at is None:
            upload.offset_bytes = offset_bytes


def require_offset(upload: UploadRecord, offset_bytes: int, asked_bytes: int) -> None:
    """Refuse a chunk that does not begin where the upload stands.

    Raises:
        OffsetConflict: it does not.
    """
    if asked_bytes != offset_bytes:
        message = (
            f"The upload stands at byte {offset_bytes} of {upload.length_bytes}, not at "
            f"{asked_bytes}; go on from there."
        )
        raise OffsetConflict(message)


def complete_upload(desk: UploadDesk, lock: UploadLock, sha256: str) -> UploadRecord:
    """Make a video of an upload whose bytes have all arrived.

    Args:
        desk: of the tenant.
        lock: of the upload.
        sha256: of all its bytes.

    Raises:
        UploadLocked: the lock ran out, and somebody else has it.
        StorageUnavailable: the storage did not take the bytes.
    """
    path, key = desk.path(lock.upload.id), video_key(lock.upload.video_id)
    # A request that froze and lost its lock must not take the file away from the next one.
    keep_lock(desk, lock, lock.upload.length_bytes)
    if path.exists():
        _put(desk, path, key, lock.upload.length_bytes)
    with transaction(desk.core.engine) as session:
        upload = _held(session, lock)
        now = desk.core.clock.now(session)
        video = NewVideo(
            name=upload.name,
            content=NewContent(sha256, upload.length_bytes, key),
            kept=True,
            camera=upload.camera,
            recorded_at=upload.recorded_at,
            video_id=upload.video_id,
        )
        probe = NewJob(video=video, model="", kind=JobKind.PROBE)
        _, used = insert_job(session, upload.tenant_id, probe, now)
        upload.offset_bytes, upload.completed_at = upload.length_bytes, now
        upload.lock_token = upload.lock_until = None
        upload.lock_wanted = False
    if not used:
        desk.core.blobs.delete(key)
    return upload


def settle_upload(desk: UploadDesk, upload_id: str) -> UploadView:
    """Make up for what a crash cut off: a complete upload becomes a video.

    Bytes that have vanished are to be sent again.

    Raises:
        UploadLocked: another request is at it.
    """
    lock = lock_upload(desk, upload_id)
    try:
        view = _view(desk, lock.upload)
        if not view.unsettled:
            return view
        # Hashing and storing may take minutes.
        with _renewed(desk, lock):
            sha256 = _stored_sha256(desk, lock.upload)
            if sha256 is None:
                begin_file(desk.path(upload_id))
                free_lock(desk, lock, 0)
            else:
                complete_upload(desk, lock, sha256)
    finally:
        free_lock(desk, lock, None)
    return look_at_upload(desk, upload_id)


@contextmanager
def _renewed(desk: UploadDesk, lock: UploadLock) -> Iterator[None]:
    """Keep a lock from running out until the block ends."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LOCK_SECONDS / 5):
            try:
                keep_lock(desk, lock, None)
            except (UploadLocked, OutageError):
                continue  # given back, or lost: the last step asks for it itself

    thread = threading.Thread(target=renew, name=f"lock {lock.upload.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def hash_file(path: Path) -> "hashlib._Hash":
    """Return the SHA-256 of a file's bytes, open for more."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(HASH_BYTES):
            digest.update(piece)
    return digest


def end_upload(desk: UploadDesk, upload_id: str) -> None:
    """Forget an upload and delete its bytes; a video that it became stays.

    Raises:
        UploadNotFound: there is none.
        UploadLocked: a request writes to it.
    """
    lock = lock_upload(desk, upload_id)
    with transaction(desk.core.engine) as session:
        session.delete(_held(session, lock))
    desk.path(upload_id).unlink(missing_ok=True)


def _visible(session: Session, upload_id: str, now: datetime) -> UploadRecord:
    upload = session.get(UploadRecord, upload_id)
    if upload is None:
        message = f"There is no upload {upload_id}; begin a new one with POST /v1/uploads."
        raise UploadNotFound(message)
    if upload.completed_at is None and upload.expires_at <= now:
        message = "The upload was left unfinished for too long; begin a new one."
        raise UploadExpired(message)
    return upload


def _held(session: Session, lock: UploadLock) -> UploadRecord:
    upload = session.get(UploadRecord, lock.upload.id, with_for_update=True, populate_existing=True)
    if upload is None or upload.lock_token != lock.token:
        raise UploadLocked(LOCKED_MESSAGE)
    return upload


def _view(desk: UploadDesk, upload: UploadRecord) -> UploadView:
    if upload.completed_at is not None:
        return UploadView(upload, upload.length_bytes, unsettled=False)
    try:
        size_bytes = desk.path(upload.id).stat().st_size
    except FileNotFoundError:
        return UploadView(upload, upload.offset_bytes, unsettled=True)
    offset_bytes = min(upload.offset_bytes, size_bytes)
    return UploadView(upload, offset_bytes, unsettled=offset_bytes == upload.length_bytes)


def _stored_sha256(desk: UploadDesk, upload: UploadRecord) -> str | None:
    """Return the hash of a complete upload's bytes, wherever they are; None if they are lost."""
    path = desk.path(upload.id)
    if path.exists():
        return hash_file(path).hexdigest()
    key = video_key(upload.video_id)
    if _blob_size(desk, key) != upload.length_bytes:
        return None
    digest = hashlib.sha256()
    for piece in desk.core.blobs.open_range(key, 0, upload.length_bytes):
        digest.update(piece)
    return digest.hexdigest()


def _put(desk: UploadDesk, path: Path, key: str, length_bytes: int) -> None:
    # A remote store may have taken the bytes before a crash that left the file here.
    if _blob_size(desk, key) == length_bytes:
        path.unlink(missing_ok=True)
    else:
        # Young again: a blob without rows that looks a day old would be swept as an orphan.
        path.touch()
        desk.core.blobs.put_file(key, path)


def _blob_size(desk: UploadDesk, key: str) -> int | None:
    try:
        return desk.core.blobs.size(key)
    except FileNotFoundError:
        return None


def _new_upload_id() -> str:
    # Whoever knows the id may not only look but write: 130 random bits, no time in it.
    return "upl_" + "".join(secrets.choice(CROCKFORD) for _ in range(ID_CHARACTERS))
