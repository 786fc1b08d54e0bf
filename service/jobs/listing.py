"""Lists of jobs: filtered, newest first, page by page."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select

from service.batches.records import BatchItemRecord
from service.jobs.commands import JobCore, JobView, select_views, view_of
from service.jobs.paging import behind, page_token
from service.jobs.records import JobRecord
from service.jobs.states import JobQueue, JobStatus
from service.jobs.store import reading


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; None leaves a field out of account.

    Attributes:
        model: NAME, NAME@VERSION or NAME@VERSION:SPEED; what is not named may be any.
        created_after: exclusive, as created_before.
    """

    status: JobStatus | None = None
    model: str | None = None
    tag: str | None = None
    camera: str | None = None
    queue: JobQueue | None = None
    video_id: str | None = None
    batch_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what a row has to fulfil."""
        columns = (
            (JobRecord.status, self.status),
            (JobRecord.tag, self.tag),
            (JobRecord.camera, self.camera),
            (JobRecord.queue, self.queue),
            (JobRecord.video_id, self.video_id),
        )
        found: list[ColumnElement[bool]] = [
            column == value for column, value in columns if value is not None
        ]
        if self.model is not None:
            found.append(_is_model(self.model))
        if self.batch_id is not None:
            of_batch = select(BatchItemRecord.job_id).where(
                BatchItemRecord.batch_id == self.batch_id
            )
            found.append(JobRecord.id.in_(of_batch))
        if self.created_after is not None:
            found.append(JobRecord.created_at > self.created_after)
        if self.created_before is not None:
            found.append(JobRecord.created_at < self.created_before)
        return found


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first, and the token of the next page; None after the last."""

    views: list[JobView]
    next_page_token: str | None


def list_jobs(
    core: JobCore, wanted: JobFilter, *, page_size: int, page_token: str | None = None
) -> JobPage:
    """Return a page of jobs, newest first; jobs made meanwhile shift nothing.

    Raises:
        InvalidRequest: the page token is none of ours.
    """
    statement = (
        select_views()
        .where(*wanted.conditions())
        .order_by(JobRecord.created_at.desc(), JobRecord.id.desc())
        .limit(page_size + 1)
    )
    if page_token is not None:
        statement = statement.where(behind(page_token, JobRecord.created_at, JobRecord.id))
    with reading(core.engine) as session:
        views = [view_of(row) for row in session.execute(statement)]
    return JobPage(views[:page_size], _next_token(views, page_size))


def _next_token(views: list[JobView], page_size: int) -> str | None:
    if len(views) <= page_size:
        return None
    last = views[page_size - 1].job
    return page_token(last.created_at, last.id)


def _is_model(name: str) -> ColumnElement[bool]:
    parts = [JobRecord.model == name]
    for mark in ("@", ":"):
        if mark not in name:
            parts.append(JobRecord.model.startswith(name + mark, autoescape=True))
    return or_(*parts)
