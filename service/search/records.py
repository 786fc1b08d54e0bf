"""The tables of search: one row per segment shown, counts of them, saved searches.

Every index of segments begins with the tenant, ends with everything a search can ask for, and so
answers it without a look at the table. Names may be longer than what fits into an index entry
(2.7 kB in PostgreSQL), so a number stands for each; see `word_key`.
"""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from service.jobs.records import (
    DEFAULT_TENANT,
    ID_LENGTH,
    NAME_LENGTH,
    BigId,
    Record,
    TenantOwned,
)

SCORE_UNITS = 1_000_000
"""Scores are stored in millionths: results state six digits."""

UNDATED_MS = 10**14
"""So long before its job was made is the place of a segment without a wall-clock time: three
thousand years, behind every moment that can be given."""

FIRST_DATED_MS = -(10**13)
"""Places below this are of segments without a wall-clock time."""

KEY_BITS = 31
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COVERED = ("moment_ms", "score", "duration_ms", "label_key", "camera_key", "tag_key")


class CountKind(StrEnum):
    """What segments are counted by."""

    LABEL = "label"
    CAMERA = "camera"
    TAG = "tag"


def word_key(word: str | None) -> int | None:
    """Return the number that stands for a label, camera or tag in indexes; None for none.

    Two words may share one: whoever finds rows by it compares the words themselves, too.
    """
    if word is None:
        return None
    digest = hashlib.sha256(word.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4]) >> (32 - KEY_BITS)


def _covering(name: str, *leading: str) -> Index:
    """Return an index by the tenant and these columns that holds all a search may ask for."""
    columns = ("tenant_id", *leading, "id")
    return Index(name, *columns, *(one for one in COVERED if one not in columns))


class SegmentRecord(TenantOwned, Record):
    """One segment of a result, as its user is shown it. Written once, gone with its job.

    Attributes:
        position: among the segments of its job's result, from 0.
        label_key, camera_key, tag_key: `word_key` of the label, and of its job's camera and tag.
        score: public score in millionths.
        start_ms: from the first frame.
        moment_ms: place in the order of time: milliseconds since 1970 of its start; where nobody
            knows when the video was recorded, `UNDATED_MS` before its job was made.
    """

    __tablename__ = "segments"
    __table_args__ = (
        CheckConstraint(f"score >= 0 AND score <= {SCORE_UNITS}", name="score"),
        CheckConstraint("start_ms >= 0 AND duration_ms >= 0 AND position >= 0", name="times"),
        Index("ix_segments_job_time", "job_id", "tenant_id", "moment_ms", "id"),
        _covering("ix_segments_time", "moment_ms"),
        _covering("ix_segments_label_time", "label_key", "moment_ms"),
        _covering("ix_segments_camera_time", "camera_key", "moment_ms"),
        _covering("ix_segments_camera_label_time", "camera_key", "label_key", "moment_ms"),
        _covering("ix_segments_tag_time", "tag_key", "moment_ms"),
        _covering("ix_segments_score", "score"),
        _covering("ix_segments_label_score", "label_key", "score"),
        _covering("ix_segments_duration", "duration_ms"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    # Not the mixin's: every index below begins with it anyway.
    tenant_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("tenants.id"), default=DEFAULT_TENANT
    )
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    label: Mapped[str] = mapped_column(Text)
    label_key: Mapped[int] = mapped_column(Integer)
    camera_key: Mapped[int | None] = mapped_column(Integer)
    tag_key: Mapped[int | None] = mapped_column(Integer)
    score: Mapped[int] = mapped_column(Integer)
    raw_score: Mapped[float] = mapped_column(Float)
    start_ms: Mapped[int] = mapped_column(Integer)
    duration_ms: Mapped[int] = mapped_column(Integer)
    moment_ms: Mapped[int] = mapped_column(BigInteger)


class SegmentCountRecord(TenantOwned, Record):
    """By how much the number of segments of a label, camera or tag changed.

    Who finds segments only adds rows, so that no two jobs that end wait for each other. They are
    summed up now and then, and where segments are deleted.
    """

    __tablename__ = "segment_counts"
    __table_args__ = (
        CheckConstraint("kind IN ('label', 'camera', 'tag')", name="kind"),
        Index("ix_segment_counts_tenant_id_kind", "tenant_id", "kind"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    tenant_id: Mapped[str] = mapped_column(
        String(ID_LENGTH), ForeignKey("tenants.id"), default=DEFAULT_TENANT
    )
    kind: Mapped[str] = mapped_column(String(8))
    value: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)


class SearchRecord(TenantOwned, Record):
    """A search that somebody gave a name.

    Attributes:
        filter: what was asked for, as `service.search.filters.SegmentFilter.to_json` writes it.
    """

    __tablename__ = "searches"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    filter: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
