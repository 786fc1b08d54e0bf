"""What bridges tell: the segments of a job that succeeded, with their places on the clock."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from service.jobs.commands import JobCore
from service.jobs.records import JobRecord, ResultRecord, TenantRecord, VideoRecord
from service.jobs.states import JobKind
from service.jobs.store import reading
from service.settings import Settings
from service.webhooks.events import Interest

MAX_CAMERAS = 1000
"""That are announced; the segments of others are told all the same."""

ID_DIGITS = 10


@dataclass(frozen=True, slots=True)
class BridgeFilter:
    """Whose segments are told, and which.

    Attributes:
        tenant: name or id.
        labels: None for all.
    """

    tenant: str
    labels: frozenset[str] | None = None
    min_score: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> "BridgeFilter":
        """Return that of a deployment."""
        labels = frozenset(settings.bridge_labels) or None
        return cls(settings.bridge_tenant, labels, settings.bridge_min_score)

    @property
    def interest(self) -> Interest:
        """As webhooks have it."""
        return Interest(frozenset(), self.labels, self.min_score)


@dataclass(frozen=True, slots=True)
class BridgeSegment:
    """One segment, as it is told.

    Attributes:
        id: of Frigate's form; the same whenever this segment is told.
        start_seconds, end_seconds: in the video.
        recorded_at: moment of the video's first frame; None where nobody said.
    """

    id: str
    job_id: str
    video_id: str
    video_name: str
    model: str
    label: str
    score: float
    raw_score: float
    start_seconds: float
    end_seconds: float
    camera: str | None = None
    tag: str | None = None
    recorded_at: datetime | None = None

    @property
    def started_at(self) -> datetime | None:
        """Moment of its beginning; None where that is not known."""
        return self._moment(self.start_seconds)

    @property
    def ended_at(self) -> datetime | None:
        """Moment of its end; None where that is not known."""
        return self._moment(self.end_seconds)

    def _moment(self, seconds: float) -> datetime | None:
        if self.recorded_at is None:
            return None
        return self.recorded_at + timedelta(milliseconds=round(1000 * seconds))


def told_segments(core: JobCore, job_id: str, wanted: BridgeFilter) -> list[BridgeSegment]:
    """Return what is told of a job, in order of time; nothing of one that is gone meanwhile.

    The job's own labels and threshold apply, as in its result, and then the bridge's.
    """
    with reading(core.engine) as session:
        row = session.execute(
            select(JobRecord, VideoRecord, ResultRecord.document)
            .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
            .join(ResultRecord, ResultRecord.job_id == JobRecord.id)
            .where(
                JobRecord.id == job_id,
                JobRecord.kind == JobKind.LOCALIZE,
                JobRecord.delete_requested.is_(False),
            )
        ).one_or_none()
    if row is None:
        return []
    job, video, document = row
    return list(_segments(job, video, document["segments"], wanted))


def camera_of(core: JobCore, job_id: str) -> str | None:
    """Return the camera of a job; None without one."""
    with reading(core.engine) as session:
        statement = (
            select(JobRecord.camera, VideoRecord.camera)
            .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
            .where(JobRecord.id == job_id, JobRecord.kind == JobKind.LOCALIZE)
        )
        row = session.execute(statement).one_or_none()
    return None if row is None else row[0] or row[1]


def known_cameras(core: JobCore, tenant_id: str) -> list[str]:
    """Return the cameras of a tenant's jobs and videos, by name; at most `MAX_CAMERAS`."""
    with reading(core.engine) as session:
        of_jobs = select(JobRecord.camera.label("camera")).where(
            JobRecord.tenant_id == tenant_id,
            JobRecord.camera.is_not(None),
            JobRecord.delete_requested.is_(False),
        )
        of_videos = select(VideoRecord.camera.label("camera")).where(
            VideoRecord.tenant_id == tenant_id, VideoRecord.camera.is_not(None)
        )
        found = union(of_jobs, of_videos).subquery()
        statement = select(found.c.camera).order_by(found.c.camera).limit(MAX_CAMERAS)
        return [name for name in session.execute(statement).scalars() if name]


def find_tenant(session: Session, name: str) -> str | None:
    """Return the id of a tenant of this name or id; None if there is none."""
    statement = (
        select(TenantRecord.id)
        .where((TenantRecord.name == name) | (TenantRecord.id == name))
        .order_by(TenantRecord.name != name)
        .limit(1)
    )
    return session.execute(statement).scalar_one_or_none()


def _segments(
    job: JobRecord,
    video: VideoRecord,
    found: Sequence[Mapping[str, Any]],
    wanted: BridgeFilter,
) -> Iterator[BridgeSegment]:
    own = Interest.of({**job.options, "events": None})
    recorded_at = job.recorded_at or video.recorded_at
    # The place in the stored result tells apart what else might be equal; it never changes.
    numbered = {id(one): number for number, one in enumerate(found)}
    chosen = wanted.interest.segments(own.segments(found))
    for one in sorted(chosen, key=lambda each: (each["start"], each["end"], each["label"])):
        yield BridgeSegment(
            id=segment_id(job.id, numbered[id(one)], recorded_at, one["start"]),
            job_id=job.id,
            video_id=video.id,
            video_name=video.name,
            model=job.model,
            label=one["label"],
            score=one["score"],
            raw_score=one["raw_score"],
            start_seconds=one["start"],
            end_seconds=one["end"],
            camera=job.camera or video.camera,
            tag=job.tag,
            recorded_at=recorded_at,
        )


def segment_id(job_id: str, number: int, recorded_at: datetime | None, start_seconds: float) -> str:
    """Return the id under which a segment is told, every time.

    Source: Frigate, docs/integrations/mqtt.md: epoch seconds of the start, a dash, characters that
    make it unique. Without a moment, ``0`` stands in its place.
    """
    digest = hashlib.sha256(f"{job_id}.{number}".encode()).hexdigest()[:ID_DIGITS]
    if recorded_at is None:
        return f"0-{digest}"
    start = recorded_at.astimezone(UTC) + timedelta(milliseconds=round(1000 * start_seconds))
    return f"{start.timestamp():.3f}-{digest}"
