"""Unpacks the members of archives one by one, each becoming a video and a job.

A member is taken by a lease in its row. A crash while it is unpacked leaves a temporary file or
a blob that no row knows, which are swept after a day, and a lease that runs out.
"""

import contextlib
import os
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from service.accounts.quotas import hold_quota_bytes
from service.batches.commands import lock_batch
from service.batches.expanding import archive_key
from service.batches.feeding import FeedLimits, jobs_left, num_open
from service.batches.making import end_with, fail_item, find_result, open_item
from service.batches.records import BatchItemRecord, BatchRecord
from service.batches.states import BatchSource, BatchStatus, ItemKind, ItemStatus
from service.batches.zips import Unpacked, open_archive, unpack
from service.errors import (
    BytesQuotaExceeded,
    DatabaseUnavailable,
    OutageError,
    ServiceError,
    StorageFull,
)
from service.ingest.names import display_name
from service.jobs.commands import JobCore
from service.jobs.store import new_id, reading, transaction
from service.jobs.videos import NewContent, NewVideo, may_be_known
from service.storage import mapped_storage_errors, video_key

LEASE_SECONDS = 120.0
RENEW_SECONDS = 20.0
MAX_LOSSES = 3
"""Who unpacked it died, or was lost, so often: the member is taken for the reason."""

CRASHED_SENTENCE = (
    f"Unpacking this member ended {MAX_LOSSES} times without a result, so it was given up; "
    "extract it yourself and upload it."
)

_log = structlog.get_logger(__name__)


class LostError(Exception):
    """The member is nobody's any more, or somebody else's."""


@dataclass(frozen=True, slots=True)
class TakenMember:
    """A member that this process unpacks.

    Attributes:
        token: that its row names while it is ours.
        index: in the archive's directory.
        archive_id: of the archive among the videos.
    """

    item_id: int
    token: str
    batch_id: str
    tenant_id: str
    name: str
    index: int
    archive_id: str
    size_bytes: int


class Unpacker:
    """Unpacks members; keeps the archive open from one to the next. For one thread.

    Args:
        core: of all tenants.
        limits: as for feeding.
        folder: of temporary files, on the file system of the blobs.
        spare_bytes: returns how much more may be written there.
    """

    def __init__(
        self, core: JobCore, limits: FeedLimits, folder: Path, spare_bytes: Callable[[], int]
    ) -> None:
        self._core = core
        self._limits = limits
        self._folder = folder
        self._spare_bytes = spare_bytes
        self._archive_id: str | None = None
        self._archive: zipfile.ZipFile | None = None
        self._blob: AbstractContextManager[Path] | None = None

    def close(self) -> None:
        """Let go of the open archive."""
        archive, self._archive = self._archive, None
        blob, self._blob = self._blob, None
        self._archive_id = None
        if archive is not None:
            archive.close()
        if blob is not None:
            blob.__exit__(None, None, None)

    def step(self) -> bool:
        """Unpack one member; False when there is none to be unpacked now.

        Raises:
            StorageFull: there is no space; the member waits.
            OutageError: database or storage gave out; the member waits for its lease to end.
        """
        member = take_member(self._core, self._limits)
        if member is None:
            self.close()
            return False
        core = self._core.for_tenant(member.tenant_id)
        try:
            self._unpack(core, member)
        except LostError:
            _log.info("member_lost", batch_id=member.batch_id, item=member.name)
        except BytesQuotaExceeded as error:
            _refuse(core, member, error)
        except StorageFull:
            give_back(core, member)
            raise
        except OutageError:
            raise
        except ServiceError as error:
            _refuse(core, member, error)
        return True

    def _unpack(self, core: JobCore, member: TakenMember) -> None:
        # Fetching the archive and storing the member may take minutes in object storage.
        with _held(core, member), self._temporary() as path:
            archive = self._opened(core, member.archive_id)
            if self._spare_bytes() < member.size_bytes:
                message = "There is no space to unpack the archive's next member; free some."
                raise StorageFull(message)
            found = self._write(core, member, archive, path)
            video_id = new_id("vid")
            content = NewContent(found.sha256, found.size_bytes, video_key(video_id))
            core.blobs.put_file(content.blob_key, path)
        used = False
        try:
            used = self._commit(core, member, video_id, content)
        except DatabaseUnavailable:
            used = may_be_known(core.engine, content)
            raise
        finally:
            if not used:
                core.blobs.delete(content.blob_key)

    def _write(
        self, core: JobCore, member: TakenMember, archive: zipfile.ZipFile, path: Path
    ) -> Unpacked:
        renewed = time.monotonic()

        def on_block(_num_bytes: int) -> None:
            nonlocal renewed
            if time.monotonic() - renewed > RENEW_SECONDS:
                renew(core, member)
                renewed = time.monotonic()

        with mapped_storage_errors(), path.open("wb") as file:
            return unpack(archive, member.index, file, on_block)

    def _commit(
        self, core: JobCore, member: TakenMember, video_id: str, content: NewContent
    ) -> bool:
        with transaction(core.engine) as session:
            batch = lock_batch(session, member.batch_id)
            item = _ours(session, member)
            if batch is None:
                raise LostError
            now = core.clock.now(session)
            new = NewVideo(
                name=display_name(member.name),
                content=content,
                video_id=video_id,
                camera=batch.camera,
            )
            known = find_result(session, batch, content.sha256)
            if known is not None:
                end_with(item, known, now)
                return False
            used = open_item(session, batch, item, new, now)
            session.flush()
            hold_quota_bytes(session, core)
            return used

    def _opened(self, core: JobCore, archive_id: str) -> zipfile.ZipFile:
        if self._archive is None or self._archive_id != archive_id:
            self.close()
            blob = core.blobs.open_local(archive_key(core, archive_id))
            self._blob, self._archive_id = blob, archive_id
            self._archive = open_archive(blob.__enter__())
        return self._archive

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        with mapped_storage_errors():
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="member-")
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


def take_member(core: JobCore, limits: FeedLimits) -> TakenMember | None:
    """Take the next member that may be unpacked; None if there is none.

    Members whose lease ran out come first: somebody died over them.
    """
    with reading(core.engine) as session:
        batches = [
            (batch.id, batch.tenant_id)
            for batch in session.execute(
                select(BatchRecord).where(
                    BatchRecord.status == BatchStatus.PROCESSING,
                    BatchRecord.source == BatchSource.ARCHIVE,
                    BatchRecord.cancel_requested.is_(False),
                )
            ).scalars()
        ]
    for batch_id, tenant_id in batches:
        taken = _take_of(core.for_tenant(tenant_id), batch_id, limits)
        if taken is not None:
            return taken
    return None


def renew(core: JobCore, member: TakenMember) -> None:
    """Keep a member for another while.

    Raises:
        LostError: it is ours no longer.
    """
    with transaction(core.engine) as session:
        item = _ours(session, member)
        item.taken_until = core.clock.now(session) + timedelta(seconds=LEASE_SECONDS)


@contextlib.contextmanager
def _held(core: JobCore, member: TakenMember) -> Iterator[None]:
    """Keep a member from being taken by others until the block ends."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.wait(RENEW_SECONDS):
            with contextlib.suppress(LostError, OutageError):
                renew(core, member)

    thread = threading.Thread(target=hold, name=f"member {member.item_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def give_back(core: JobCore, member: TakenMember) -> None:
    """Let a member wait for its turn again; one that is lost already is let be."""
    with contextlib.suppress(LostError), transaction(core.engine) as session:
        item = _ours(session, member)
        item.status = ItemStatus.WAITING
        item.taken_by = item.taken_until = None


def _take_of(core: JobCore, batch_id: str, limits: FeedLimits) -> TakenMember | None:
    with transaction(core.engine) as session:
        batch = lock_batch(session, batch_id)
        if batch is None or batch.status != BatchStatus.PROCESSING or batch.cancel_requested:
            return None
        now = core.clock.now(session)
        lost = and_(BatchItemRecord.status == ItemStatus.TAKEN, BatchItemRecord.taken_until < now)
        fresh = and_(
            BatchItemRecord.status == ItemStatus.WAITING,
            BatchItemRecord.kind == ItemKind.MEMBER,
            BatchItemRecord.video_id.is_(None),
        )
        item = session.execute(
            select(BatchItemRecord)
            .where(BatchItemRecord.batch_id == batch_id, or_(lost, fresh))
            .order_by(BatchItemRecord.status, BatchItemRecord.id)
            .limit(1)
        ).scalar_one_or_none()
        if item is None or not _has_room(session, core, batch_id, item, limits):
            return None
        if item.status == ItemStatus.TAKEN:
            item.attempts += 1
            if item.attempts >= MAX_LOSSES:
                fail_item(item, "crashed", CRASHED_SENTENCE, now)
                return None
        item.status = ItemStatus.TAKEN
        item.taken_by = new_id("take")
        item.taken_until = now + timedelta(seconds=LEASE_SECONDS)
        return TakenMember(
            item_id=item.id,
            token=item.taken_by,
            batch_id=batch_id,
            tenant_id=batch.tenant_id,
            name=item.name,
            index=int(item.source or 0),
            archive_id=(batch.source_ref or {})["video_id"],
            size_bytes=item.size_bytes or 0,
        )


def _has_room(
    session: Session, core: JobCore, batch_id: str, item: BatchItemRecord, limits: FeedLimits
) -> bool:
    if item.status == ItemStatus.TAKEN:
        return True  # it is counted already
    left = jobs_left(session, core)
    return num_open(session, batch_id) < limits.open_jobs and (left is None or left > 0)


def _ours(session: Session, member: TakenMember) -> BatchItemRecord:
    """Return the member's row, locked.

    Raises:
        LostError: it is ours no longer: its lease ran out, or the batch was canceled.
    """
    item = session.get(
        BatchItemRecord, member.item_id, with_for_update=True, populate_existing=True
    )
    if item is None or item.taken_by != member.token:
        raise LostError
    return item


def _refuse(core: JobCore, member: TakenMember, error: ServiceError) -> None:
    _log.info("member_refused", batch_id=member.batch_id, item=member.name, code=error.code)
    with contextlib.suppress(LostError), transaction(core.engine) as session:
        fail_item(_ours(session, member), error.code, str(error), core.clock.now(session))
