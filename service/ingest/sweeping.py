"""What the sweeper does about resumable uploads: those that were left unfinished."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import or_, select

from service.ingest.records import UploadRecord
from service.ingest.uploads import UploadDesk
from service.jobs.store import transaction

TOMBSTONE_SECONDS = 24 * 3600.0
"""How long an expired upload is answered with "expired" before it is unknown."""


def sweep_uploads(desk: UploadDesk) -> int:
    """Delete the bytes of expired uploads, later their rows, and files that no row knows.

    Args:
        desk: of all tenants.

    Returns:
        How many files were deleted.
    """
    with transaction(desk.core.engine) as session:
        now = desk.core.clock.now(session)
        idle = or_(UploadRecord.lock_until.is_(None), UploadRecord.lock_until <= now)
        over = list(
            session.execute(
                select(UploadRecord).where(UploadRecord.expires_at <= now, idle)
            ).scalars()
        )
        horizon = now - timedelta(seconds=TOMBSTONE_SECONDS)
        for upload in over:
            if upload.completed_at is not None or upload.expires_at <= horizon:
                session.delete(upload)
            else:
                # It stays to be answered with "expired", and takes nobody's quota meanwhile.
                upload.offset_bytes, upload.length_bytes = 0, 1
        known = set(
            session.execute(select(UploadRecord.id).where(UploadRecord.expires_at > now)).scalars()
        )
    expired = {upload.id for upload in over}
    return sum(
        _unlinked(path)
        for path in _files(desk.folder)
        if path.name in expired or (path.name not in known and _age(path, now) > TOMBSTONE_SECONDS)
    )


def _files(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def _age(path: Path, now: datetime) -> float:
    try:
        return now.timestamp() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _unlinked(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
