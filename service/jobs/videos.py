"""Videos and their bytes: stored once per content, gone with the last video that has them."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import DatabaseUnavailable, VideoNotFound
from service.jobs.records import ContentRecord, VideoRecord
from service.jobs.store import new_id, reading
from service.jobs.tenancy import ALL_TENANTS


@dataclass(frozen=True, slots=True)
class NewContent:
    """Bytes that were put into the blob store under a fresh key.

    Attributes:
        sha256: of the bytes, hexadecimal.
        blob_key: where they were put; no other bytes were ever there.
    """

    sha256: str
    size_bytes: int
    blob_key: str


@dataclass(frozen=True, slots=True)
class StoredContent:
    """Where bytes lie.

    Attributes:
        used: whether that is the blob that was brought; if not, the bytes were there already and
            the caller deletes its blob after the commit.
    """

    blob_key: str
    used: bool


@dataclass(frozen=True, slots=True)
class NewVideo:
    """A video as it is made known: with its bytes stored, by URL, or by path.

    Attributes:
        name: for display.
        content: for an upload; None for a URL or a path.
        source: ``upload``, ``url`` or ``path``.
        source_ref: URL or absolute path; None for an upload.
        kept: made for its own sake; otherwise it goes with its last job.
        video_id: a fresh one, where the caller wants to know it beforehand.
    """

    name: str
    content: NewContent | None = None
    source: str = "upload"
    source_ref: str | None = None
    kept: bool = False
    camera: str | None = None
    recorded_at: datetime | None = None
    video_id: str | None = None


def store_content(session: Session, content: NewContent, now: datetime) -> StoredContent:
    """Make known bytes that lie in the blob store, unless the same ones are known already.

    The row found or made is locked until the transaction ends: nobody removes it meanwhile.
    """
    known = _locked_content(session, content.sha256)
    if known is None:
        try:
            with session.begin_nested():
                session.add(
                    ContentRecord(
                        sha256=content.sha256,
                        blob_key=content.blob_key,
                        size_bytes=content.size_bytes,
                        created_at=now,
                    )
                )
        except IntegrityError:
            # Somebody else brought the same bytes at the same moment.
            known = _locked_content(session, content.sha256)
            if known is None:
                raise
        else:
            return StoredContent(content.blob_key, used=True)
    return StoredContent(known.blob_key, used=known.blob_key == content.blob_key)


def may_be_known(engine: Engine, content: NewContent) -> bool:
    """Return whether rows may have a blob although the database did not confirm their commit.

    A blob that stays without a row is swept after a day; a row without its blob could not be
    mended, and later uploads of the same bytes would share it.
    """
    if engine.dialect.name == "postgresql":
        return True  # the server may still be at it
    try:
        with reading(engine) as session:
            known = exists().where(ContentRecord.blob_key == content.blob_key)
            return bool(session.scalar(select(known)))
    except DatabaseUnavailable:
        return True


def insert_video(
    session: Session, tenant_id: str, new: NewVideo, now: datetime
) -> tuple[VideoRecord, bool]:
    """Insert a video.

    Returns:
        The video, and whether the blob of its content is used; if not, the caller deletes that
        blob after the commit.
    """
    video = video_record(tenant_id, new, now)
    used = False
    if new.content is not None:
        stored = store_content(session, new.content, now)
        used = stored.used
        video.sha256, video.size_bytes = new.content.sha256, new.content.size_bytes
        video.blob_key = stored.blob_key
        _take_known_facts(session, video)
    session.add(video)
    session.flush()
    return video, used


def video_record(tenant_id: str, new: NewVideo, now: datetime) -> VideoRecord:
    """Return the row of a video, not inserted yet and without its content."""
    return VideoRecord(
        id=new.video_id or new_id("vid"),
        tenant_id=tenant_id,
        name=new.name,
        source=new.source,
        source_ref=new.source_ref,
        kept=new.kept,
        camera=new.camera,
        recorded_at=new.recorded_at,
        created_at=now,
    )


def visible_video(session: Session, video_id: str, *, hold: bool = False) -> VideoRecord:
    """Return a video; on a bound session only its tenant's.

    With ``hold`` nobody deletes its row until the transaction ends.

    Raises:
        VideoNotFound: there is none.
    """
    lock = {"read": True} if hold else None
    video = session.get(VideoRecord, video_id, with_for_update=lock)
    if video is None:
        message = f"There is no video {video_id}; it may have been deleted, or its time is over."
        raise VideoNotFound(message)
    return video


def drop_content(session: Session, sha256: str | None) -> str | None:
    """Forget the bytes of this hash if no video has them any longer.

    Returns:
        The blob to be deleted after the commit; None if it is still wanted. A crash in between
        leaves a blob that no row knows, which the sweeper deletes.
    """
    if sha256 is None:
        return None
    content = _locked_content(session, sha256)
    if content is None or session.scalar(
        select(exists().where(VideoRecord.blob_key == content.blob_key)).execution_options(
            **ALL_TENANTS
        )
    ):
        return None
    session.delete(content)
    session.flush()
    return content.blob_key


def _locked_content(session: Session, sha256: str) -> ContentRecord | None:
    return session.get(ContentRecord, sha256, with_for_update=True, populate_existing=True)


def _take_known_facts(session: Session, video: VideoRecord) -> None:
    """What was found out about the same bytes before holds for this video as well."""
    facts = session.execute(
        select(VideoRecord.facts)
        .where(VideoRecord.sha256 == video.sha256, VideoRecord.facts.is_not(None))
        .limit(1)
        .execution_options(**ALL_TENANTS)
    ).scalar_one_or_none()
    if facts is not None:
        video.facts, video.status = {**facts, "name": video.name}, "ready"
