"""The table of resumable uploads. Shape, no behaviour."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import ID_LENGTH, NAME_LENGTH, Record, TenantOwned


class UploadRecord(TenantOwned, Record):
    """A file on its way in, in pieces.

    Attributes:
        video_id: of the video that it becomes; no row has it before the upload is complete.
        name: display name given by the user; never a path.
        camera: where it was recorded, in the user's words.
        recorded_at: wall-clock moment of its first frame.
        said: the header Upload-Metadata, given back as it came.
        length_bytes: how long it is going to be.
        offset_bytes: how much of it is known to have reached the disk.
        lock_token: of the one request that may write, until ``lock_until``.
        lock_wanted: another request waits; the holder lets go unless bytes arrive.
        expires_at: gone after this, unless it was completed or goes on before.
        completed_at: when it became a video.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        CheckConstraint("offset_bytes >= 0 AND offset_bytes <= length_bytes", name="offset"),
        CheckConstraint("length_bytes >= 1", name="length"),
        CheckConstraint("(lock_token IS NULL) = (lock_until IS NULL)", name="lock"),
        CheckConstraint("completed_at IS NULL OR offset_bytes = length_bytes", name="completed"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    video_id: Mapped[str] = mapped_column(String(ID_LENGTH), unique=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    camera: Mapped[str | None] = mapped_column(String(NAME_LENGTH))
    recorded_at: Mapped[datetime | None]
    said: Mapped[str] = mapped_column(Text)
    length_bytes: Mapped[int] = mapped_column(BigInteger)
    offset_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    lock_token: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    lock_until: Mapped[datetime | None]
    lock_wanted: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    completed_at: Mapped[datetime | None]
