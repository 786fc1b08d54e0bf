"""What users do with jobs: make, look at, list, cancel; deleting is `service.jobs.removal`."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, Select, bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.accounts.limits import Quotas
from service.batches.records import BatchItemRecord
from service.errors import (
    DatabaseUnavailable,
    IdempotencyConflict,
    InvalidTransition,
    JobNotFound,
    ResultNotFound,
    ResultNotReady,
)
from service.jobs import lifecycle
from service.jobs.records import DEFAULT_TENANT, JobRecord, ResultRecord, VideoRecord, WorkerRecord
from service.jobs.states import ENDED, JobKind, JobQueue, JobStatus
from service.jobs.store import (
    Clock,
    clock_for,
    create_engine_for,
    migrate,
    new_id,
    reading,
    transaction,
)
from service.jobs.tenancy import bound, bound_tenant
from service.jobs.videos import (
    NewContent,
    NewVideo,
    insert_video,
    may_be_known,
    visible_video,
)
from service.settings import Settings
from service.storage import BlobStore, open_blobs


@dataclass(frozen=True, slots=True)
class JobCore:
    """What the commands stand on: database, clock, blobs, features.

    ``engine`` may be bound to a tenant, who is then the only one whose rows are seen; ``quotas``
    hold for every tenant that has none of its own.
    """

    engine: Engine
    clock: Clock
    blobs: BlobStore
    features_folder: Path
    quotas: Quotas = field(default_factory=Quotas)

    @property
    def tenant_id(self) -> str:
        """Whose rows are made: the bound tenant's, or the default one's."""
        return bound_tenant(self.engine) or DEFAULT_TENANT

    def for_tenant(self, tenant_id: str) -> "JobCore":
        """Return this core for the eyes of one tenant."""
        return replace(self, engine=bound(self.engine, tenant_id))


def open_core(settings: Settings) -> JobCore:
    """Open database and storage, bringing the schema to its newest version.

    Raises:
        ConfigurationError: the database's address cannot be used.
        DatabaseUnavailable: it did not answer.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = create_engine_for(settings.resolved_database_url)
    migrate(engine)
    return JobCore(
        engine,
        clock_for(engine),
        open_blobs(settings),
        settings.features_folder,
        Quotas.of(settings),
    )


@dataclass(frozen=True, slots=True)
class NewJob:
    """A request for a job, about a video that is there or comes with it.

    Attributes:
        video: ``vid_…`` of a video that is there, or one to be made with the job.
        model: NAME@VERSION[:SPEED].
        queue: `service.jobs.states.JobQueue`.
        camera, recorded_at: None takes the video's.
        webhook: {url, events, labels, min_score, secret} of this job alone.
        idempotency_key: the client's; None without one.
        retry_of: the job that is to be repeated.
        kind: `service.jobs.states.JobKind`.
    """

    video: str | NewVideo
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    queue: str = JobQueue.INTERACTIVE
    tag: str | None = None
    camera: str | None = None
    recorded_at: datetime | None = None
    webhook: dict[str, Any] | None = None
    idempotency_key: str | None = None
    retry_of: str | None = None
    kind: str = JobKind.LOCALIZE

    @property
    def content(self) -> NewContent | None:
        """The bytes that come with it; None if it brings none."""
        return self.video.content if isinstance(self.video, NewVideo) else None

    @property
    def digest(self) -> str:
        """Hash of what makes two requests the same: the bytes count, not where they were put."""
        video: object = self.video
        if isinstance(video, NewVideo):
            video = video.content.sha256 if video.content is not None else video.source_ref
        asked = [
            video,
            self.model,
            self.options,
            self.tag,
            self.queue,
            self.camera,
            self.recorded_at.isoformat() if self.recorded_at is not None else None,
            self.webhook,
            *([] if self.retry_of is None else [self.retry_of]),
        ]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


# Put together once: a status poll should cost the database's answer and little more.
_VIEWS_OF_ALL = (
    select(
        JobRecord,
        VideoRecord,
        ResultRecord.activations_key,
        select(func.min(BatchItemRecord.batch_id))
        .where(BatchItemRecord.job_id == JobRecord.id)
        .correlate(JobRecord)
        .scalar_subquery(),
    )
    .join(VideoRecord, VideoRecord.id == JobRecord.video_id)
    .outerjoin(ResultRecord, ResultRecord.job_id == JobRecord.id)
)
_VIEWS = _VIEWS_OF_ALL.where(
    JobRecord.delete_requested.is_(False), JobRecord.kind == JobKind.LOCALIZE
)
_CHOSEN_VIEWS = _VIEWS.where(JobRecord.id.in_(bindparam("job_ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its video, as of one moment; ``batch_id``: the batch it was first made for."""

    job: JobRecord
    video: VideoRecord
    has_activations: bool = False
    batch_id: str | None = None


def create_job(
    core: JobCore, request: NewJob, hold: Callable[[Session, JobCore], object] | None = None
) -> tuple[JobView, bool]:
    """Queue a job; a repeated idempotency key returns the job it made before.

    A blob that the request brings and that is not needed, because the job or the same bytes are
    there already, is deleted.

    Args:
        core: bound to the tenant.
        request: for the job.
        hold: called with everything in place before the commit; what it raises undoes all.

    Returns:
        The job, and whether it is new.

    Raises:
        IdempotencyConflict: the key was used for another request.
        VideoNotFound: there is no such video.
    """
    used = False
    try:
        view = _find_repeated(core, request)
        if view is not None:
            return view, False
        try:
            view, used = _create(core, request, hold)
        except IntegrityError:
            # Two requests with one key at the same moment: the other one made the job.
            view = _find_repeated(core, request)
            if view is None:
                raise
            return view, False
    except DatabaseUnavailable:
        used = request.content is not None and may_be_known(core.engine, request.content)
        raise
    else:
        return view, True
    finally:
        if request.content is not None and not used:
            core.blobs.delete(request.content.blob_key)


def _find_repeated(core: JobCore, request: NewJob) -> JobView | None:
    if request.idempotency_key is None:
        return None
    with reading(core.engine) as session:
        job = session.execute(
            select(JobRecord).where(
                JobRecord.tenant_id == core.tenant_id,
                JobRecord.idempotency_key == request.idempotency_key,
            )
        ).scalar_one_or_none()
        if job is None:
            return None
        if job.request_digest != request.digest or job.delete_requested:
            message = "This Idempotency-Key was used for another request; use a fresh one."
            raise IdempotencyConflict(message)
        return _view(session, job)


def _create(
    core: JobCore, request: NewJob, hold: Callable[[Session, JobCore], object] | None
) -> tuple[JobView, bool]:
    with transaction(core.engine) as session:
        now = core.clock.now(session)
        job, used = insert_job(session, core.tenant_id, request, now)
        if hold is not None:
            hold(session, core)
        return _view(session, job), used


def insert_job(
    session: Session, tenant_id: str, request: NewJob, now: datetime
) -> tuple[JobRecord, bool]:
    """Insert a job with its first task, and its video if it comes with one.

    Returns:
        The job, and whether the blob that came with it is used; if not, the caller deletes it
        after the commit.

    Raises:
        VideoNotFound: there is no such video.
    """
    used = False
    if isinstance(request.video, NewVideo):
        video, used = insert_video(session, tenant_id, request.video, now)
    else:
        # Nobody deletes it before the job that needs it is there.
        held = select(VideoRecord.id).where(VideoRecord.id == request.video)
        session.execute(held.with_for_update(read=True, key_share=True))
        video = visible_video(session, request.video, hold=True)
    job = job_record(tenant_id, request, video, now)
    session.add(job)
    session.flush()
    lifecycle.add_task(session, job, lifecycle.first_task(job, video), now)
    lifecycle.add_event(session, job, "job.queued", now)
    session.flush()
    return job, used


def job_record(tenant_id: str, request: NewJob, video: VideoRecord, now: datetime) -> JobRecord:
    """Return the row of a job, not inserted yet and without its first task."""
    return JobRecord(
        id=new_id("job"),
        tenant_id=tenant_id,
        video_id=video.id,
        kind=request.kind,
        queue=request.queue,
        status=JobStatus.QUEUED,
        model=request.model,
        options=request.options,
        tag=request.tag,
        camera=request.camera or video.camera,
        recorded_at=request.recorded_at or video.recorded_at,
        webhook=request.webhook,
        retry_of=request.retry_of,
        idempotency_key=request.idempotency_key,
        request_digest=request.digest if request.idempotency_key is not None else None,
        created_at=now,
    )


def get_job(core: JobCore, job_id: str) -> JobView:
    """Return a job.

    Raises:
        JobNotFound: there is none, or it was deleted.
    """
    found = get_jobs(core, [job_id])
    if not found:
        raise job_not_found(job_id)
    return found[0]


def get_jobs(core: JobCore, job_ids: Iterable[str]) -> list[JobView]:
    """Return those of the jobs that there are, in no particular order."""
    with reading(core.engine) as session:
        rows = session.execute(_CHOSEN_VIEWS, {"job_ids": list(job_ids)}).all()
    return [view_of(row) for row in rows]


def select_views() -> Select[Any]:
    """Return the statement for all jobs that users see, each with what a view of it needs."""
    return _VIEWS


def view_of(row: Row[*tuple[Any, ...]]) -> JobView:
    """Return a row of `select_views` as a view."""
    return JobView(row[0], row[1], row[2] is not None, row[3])


def request_cancel(core: JobCore, job_id: str) -> JobView:
    """Ask for a job to stop; one that no worker holds is canceled at once.

    Raises:
        JobNotFound: there is none.
        InvalidTransition: it succeeded or failed already.
    """
    with transaction(core.engine) as session:
        visible_job(session, job_id)
        job = _locked_job(session, job_id)
        if job.status in {JobStatus.SUCCEEDED, JobStatus.FAILED}:
            message = f"The job has already {job.status}; only an unfinished job can be canceled."
            raise InvalidTransition(message)
        if job.status != JobStatus.CANCELED:
            lifecycle.request_stop(session, job, core.clock.now(session))
        return _view(session, job)


def retry_job(
    core: JobCore,
    job_id: str,
    idempotency_key: str | None = None,
    hold: Callable[[Session, JobCore], object] | None = None,
) -> JobView:
    """Queue a job again that failed or was canceled, as a new one.

    What was extracted before is found again.

    Raises:
        JobNotFound: there is none.
        InvalidTransition: it has not ended, or it succeeded.
        IdempotencyConflict: the key was used for another request.
    """
    with reading(core.engine) as session:
        job = visible_job(session, job_id)
    if job.status not in {JobStatus.FAILED, JobStatus.CANCELED}:
        message = f"The job is {job.status}; only one that failed or was canceled can be retried."
        raise InvalidTransition(message)
    again = NewJob(
        video=job.video_id,
        model=job.model,
        options=job.options,
        queue=job.queue,
        tag=job.tag,
        camera=job.camera,
        recorded_at=job.recorded_at,
        webhook=job.webhook,
        idempotency_key=idempotency_key,
        retry_of=job.id,
    )
    return create_job(core, again, hold)[0]


def get_result(core: JobCore, job_id: str) -> tuple[JobView, dict[str, Any]]:
    """Return a job and its native result, all segments included.

    Raises:
        JobNotFound: there is no such job.
        ResultNotReady: it has not ended.
        ResultNotFound: it ended without one.
    """
    with reading(core.engine) as session:
        job = visible_job(session, job_id)
        row = _result(session, job)
        return _view(session, job), row.document


def seconds_since_worker(core: JobCore) -> float | None:
    """Return how long ago any worker showed itself; None if none ever did.

    Raises:
        DatabaseUnavailable: the database did not answer.
    """
    with reading(core.engine) as session:
        seen_at: datetime | None = session.execute(select(func.max(WorkerRecord.seen_at))).scalar()
        now = core.clock.now(session)
    return None if seen_at is None else (now - seen_at).total_seconds()


def visible_job(session: Session, job_id: str) -> JobRecord:
    """Return a job that users can see.

    Raises:
        JobNotFound: there is none.
    """
    job = session.get(JobRecord, job_id)
    if job is None or job.delete_requested or job.kind != JobKind.LOCALIZE:
        raise job_not_found(job_id)
    return job


def job_not_found(job_id: str) -> JobNotFound:
    """Return the refusal of an id that no job has."""
    message = f"There is no job {job_id}; it may have been deleted, or its retention is over."
    return JobNotFound(message)


def _locked_job(session: Session, job_id: str) -> JobRecord:
    job = lifecycle.lock_job(session, job_id)
    if job is None:
        message = f"There is no job {job_id}; it was deleted a moment ago."
        raise JobNotFound(message)
    return job


def _view(session: Session, job: JobRecord) -> JobView:
    session.flush()
    # A probe is shown to nobody, but made by the same commands.
    statement = _VIEWS_OF_ALL.where(JobRecord.id == job.id)
    return view_of(session.execute(statement).one())


def _result(session: Session, job: JobRecord) -> ResultRecord:
    row = session.get(ResultRecord, job.id)
    if row is not None:
        return row
    if job.status not in ENDED:
        message = f"The job is still {job.status}; ask again when it has ended (GET ?wait=30)."
        raise ResultNotReady(message)
    reason = f": {job.error_message}" if job.error_message else "."
    message = f"The job ended as {job.status}, without a result{reason}"
    raise ResultNotFound(message)
