"""Receives the chunks of resumable uploads: under a lock that is kept, onto the disk, hashed.

Whatever ends a request, a client that is gone included, what has arrived is kept and synced, and
the row says so; only a chunk with a checksum is kept as a whole or not at all.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType

import structlog
from starlette.concurrency import run_in_threadpool

from service.api.receiving import BatchWriter, SteadyBody
from service.errors import ChecksumMismatch, InvalidRequest, OutageError, UploadLocked
from service.ingest import uploads
from service.ingest.files import LOCKED_MESSAGE, ReceivedFile, open_file
from service.ingest.records import UploadRecord
from service.ingest.tus import Checksum
from service.ingest.uploads import UploadDesk, UploadLock

RENEW_SECONDS = 1.0
"""How often a request renews its lock, and at most what a crash costs of an upload."""

YIELD_SECONDS = 2.0
"""A request that brought nothing for so long lets go when another one waits: its client has most
likely lost the connection and is back."""

MAX_HASHES = 256

_log = structlog.get_logger(__name__)


class RunningHashes:
    """Hashes of uploads under way, so that a file is not read again; forgotten at a restart."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[int, hashlib._Hash]] = OrderedDict()

    def take(self, upload_id: str, offset: int) -> "hashlib._Hash | None":
        """Return the SHA-256 of an upload's first ``offset`` bytes; None if it is not known."""
        known_offset, digest = self._known.pop(upload_id, (0, hashlib.sha256()))
        return digest if known_offset == offset else None

    def put(self, upload_id: str, offset: int, digest: "hashlib._Hash") -> None:
        """Remember it; the one that was not asked for longest is forgotten."""
        self._known[upload_id] = (offset, digest)
        if len(self._known) > MAX_HASHES:
            self._known.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of an upload as a request brings it.

    Attributes:
        offset: where it begins, by its own word.
        length: how long it is, by its own word; None where it does not say.
        checksum: what it hashes to; None where it does not say.
    """

    upload_id: str
    offset: int
    length: int | None
    checksum: Checksum | None
    body: SteadyBody


async def append_chunk(desk: UploadDesk, chunk: Chunk, hashes: RunningHashes) -> UploadRecord:
    """Receive a chunk; the last one makes the upload a video.

    Returns:
        The upload as it is now.

    Raises:
        UploadNotFound: there is no such upload.
        UploadExpired: it was left unfinished for too long.
        UploadLocked: another request writes to it.
        OffsetConflict: the chunk does not begin where the upload stands.
        ChecksumMismatch: it was damaged; nothing of it is kept.
        InvalidRequest: it goes beyond the upload's end; nothing of it is kept.
        UploadTimeout: it stopped arriving; what arrived is kept.
        StorageFull: the disk is full; what fitted is kept.
    """
    lock = await run_in_threadpool(uploads.lock_upload, desk, chunk.upload_id)
    try:
        try:
            file = await run_in_threadpool(_open, desk, lock.upload)
        except FileNotFoundError:
            file = None
        if file is not None:
            with file:
                return await _append(desk, lock, _Reception(chunk, file, hashes))
    finally:
        await asyncio.shield(asyncio.to_thread(uploads.free_lock, desk, lock, None))
    # Complete already, or it was when a crash kept it from becoming a video.
    view = await run_in_threadpool(uploads.look_at_upload, desk, chunk.upload_id)
    if view.unsettled:
        view = await run_in_threadpool(uploads.settle_upload, desk, chunk.upload_id)
    uploads.require_offset(view.upload, view.offset_bytes, chunk.offset)
    return view.upload


def _open(desk: UploadDesk, upload: UploadRecord) -> ReceivedFile:
    return open_file(desk.path(upload.id), upload.offset_bytes)


async def _append(desk: UploadDesk, lock: UploadLock, reception: "_Reception") -> UploadRecord:
    upload = lock.upload
    reception.require_fit(upload)
    async with _KeptLock(desk, lock, reception.checkpoint) as kept:
        kept.on_wanted = reception.give_up_if_idle
        try:
            await reception.receive(upload.length_bytes, kept.require)
        finally:
            kept.offset = await asyncio.shield(asyncio.to_thread(reception.settle))
        if kept.offset < upload.length_bytes:
            upload.offset_bytes = kept.offset
            return upload
        # What may take minutes has other threads than what keeps the lock.
        sha256 = await run_in_threadpool(reception.sha256, desk, upload)
        return await run_in_threadpool(uploads.complete_upload, desk, lock, sha256)


class _Reception:
    """One chunk on its way into an upload's file."""

    def __init__(self, chunk: Chunk, file: ReceivedFile, hashes: RunningHashes) -> None:
        self._chunk = chunk
        self._file = file
        self._hashes = hashes
        self._start = file.offset
        self._digest: hashlib._Hash | None = None
        self._kept_digest: hashlib._Hash | None = None
        self._checksum = chunk.checksum.start() if chunk.checksum is not None else None
        # A chunk with a checksum counts once it is known to be sound.
        self._sound = chunk.checksum is None

    def require_fit(self, upload: UploadRecord) -> None:
        uploads.require_offset(upload, self._start, self._chunk.offset)
        if self._start + (self._chunk.length or 0) > upload.length_bytes:
            raise _too_long(upload.length_bytes)
        self._digest = self._hashes.take(upload.id, self._start)
        self._kept_digest = self._digest.copy() if self._digest is not None else None

    async def receive(self, length_bytes: int, require_lock: Callable[[], None]) -> None:
        """Write the body to the file; whatever goes wrong, what was taken is written."""
        body = self._chunk.body
        async with BatchWriter((self._file.write, self._hash), self._file.sync) as writer:
            try:
                async for part in body:
                    require_lock()
                    if self._start + body.received_bytes > length_bytes:
                        self._sound = False
                        raise _too_long(length_bytes)
                    await writer.put(part)
            finally:
                await writer.finish()
        self._require_sound()

    def _hash(self, parts: Sequence[bytes]) -> None:
        for digest in (self._digest, self._checksum):
            if digest is not None:
                for part in parts:
                    digest.update(part)

    def _require_sound(self) -> None:
        expected = self._chunk.checksum
        if expected is None or self._checksum is None:
            return
        self._sound = self._checksum.digest() == expected.digest
        if not self._sound:
            message = (
                f"The chunk does not have the {expected.algorithm} that Upload-Checksum says; "
                "nothing of it was kept, send it again."
            )
            raise ChecksumMismatch(message)

    def give_up_if_idle(self) -> None:
        self._chunk.body.give_up_if_idle(YIELD_SECONDS)

    def checkpoint(self) -> int | None:
        """Sync what was written; return the offset that may be promised now."""
        return self._file.sync() if self._sound else None

    def settle(self) -> int:
        """Keep what arrived, or nothing of an unsound chunk; return the upload's offset."""
        if not self._sound:
            self._file.cut_back(self._start)
            self._digest = self._kept_digest
        offset = self._file.sync()
        expected = self._start + (self._chunk.body.received_bytes if self._sound else 0)
        # Where the disk was full, more was hashed than written.
        if offset != expected:
            self._digest = None
        if self._digest is not None:
            self._hashes.put(self._chunk.upload_id, offset, self._digest)
        return offset

    def sha256(self, desk: UploadDesk, upload: UploadRecord) -> str:
        """Return the hash of the complete file, read again if it is not known."""
        digest = self._hashes.take(upload.id, upload.length_bytes)
        return (digest or uploads.hash_file(desk.path(upload.id))).hexdigest()


class _KeptLock(AbstractAsyncContextManager["_KeptLock"]):
    """An upload's lock, renewed by a task; freed at the end, with the offset reached.

    Attributes:
        offset: to be noted at the end; None where it stays as it was.
        on_wanted: called when another request waits for the lock.
    """

    def __init__(
        self, desk: UploadDesk, lock: UploadLock, checkpoint: Callable[[], int | None]
    ) -> None:
        self._desk = desk
        self._lock = lock
        self._checkpoint = checkpoint
        self._lost = False
        self._task: asyncio.Task[None] | None = None
        self.offset: int | None = None
        self.on_wanted: Callable[[], None] = lambda: None

    async def __aenter__(self) -> "_KeptLock":
        self._task = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        free = asyncio.to_thread(uploads.free_lock, self._desk, self._lock, self.offset)
        await asyncio.shield(free)

    def require(self) -> None:
        """Stop writing when somebody else has the lock."""
        if self._lost:
            raise UploadLocked(LOCKED_MESSAGE)

    async def _renew(self) -> None:
        while not self._lost:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                wanted = await asyncio.to_thread(self._renew_once)
            except UploadLocked:
                self._lost = True
            except OutageError as error:
                _log.warning("lock_not_renewed", error=str(error))
            else:
                if wanted:
                    self.on_wanted()

    def _renew_once(self) -> bool:
        return uploads.keep_lock(self._desk, self._lock, self._checkpoint())


def _too_long(length_bytes: int) -> InvalidRequest:
    return InvalidRequest(
        f"The chunk goes beyond the {length_bytes} bytes that Upload-Length announced; nothing of "
        "it was kept."
    )
