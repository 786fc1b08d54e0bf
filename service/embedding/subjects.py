"""What a web page is shown: one job, or the jobs of one camera. Nothing else of its tenant."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from service.jobs.commands import JobCore
from service.jobs.records import JobRecord
from service.jobs.states import JobKind
from service.jobs.store import reading


@dataclass(frozen=True, slots=True)
class Subject:
    """One of the two is given.

    Attributes:
        job_id: the one job that is shown, with its video.
        camera: the camera whose jobs are shown, those to come included, with their videos.
    """

    job_id: str | None = None
    camera: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as it is signed."""
        return {"camera": self.camera} if self.job_id is None else {"job": self.job_id}

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Subject | None":
        """Return what `document` wrote; None where that was of no subject."""
        if "job" in document:
            return cls(job_id=document["job"])
        return cls(camera=document["camera"]) if "camera" in document else None


def shows_job(core: JobCore, subject: Subject, job_id: str) -> bool:
    """Say whether a job is there and belongs to a subject.

    Args:
        core: bound to the tenant.
        subject: that is shown.
        job_id: of any job, or of none.
    """
    if subject.job_id not in {None, job_id}:
        return False
    return _shows(core, subject, job_id=job_id)


def shows_video(core: JobCore, subject: Subject, video_id: str) -> bool:
    """Say the same of a video: some job of the subject is about it."""
    return _shows(core, subject, video_id=video_id)


def _shows(
    core: JobCore, subject: Subject, *, job_id: str | None = None, video_id: str | None = None
) -> bool:
    statement = select(JobRecord.id).where(
        JobRecord.delete_requested.is_(False), JobRecord.kind == JobKind.LOCALIZE
    )
    if subject.camera is not None:
        statement = statement.where(JobRecord.camera == subject.camera)
    else:
        statement = statement.where(JobRecord.id == subject.job_id)
    if job_id is not None:
        statement = statement.where(JobRecord.id == job_id)
    if video_id is not None:
        statement = statement.where(JobRecord.video_id == video_id)
    with reading(core.engine) as session:
        return session.execute(statement.limit(1)).first() is not None
