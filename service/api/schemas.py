"""The bodies of the REST interface, version 1; public names, to be changed only by adding."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.jobs.commands import JobView
from service.jobs.records import JobRecord, VideoRecord
from service.jobs.states import JobQueue, JobStatus

MAX_LABELS = 1000


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(frozen=True)


class VideoBody(Body):
    """The video of a job; what only decoding can tell is null until the job was planned."""

    id: str
    name: str
    size_bytes: int | None
    sha256: str | None
    duration: float | None = Field(description="Seconds.")
    nominal_fps: float | None
    vfr: bool | None = Field(description="Whether the frame rate varies.")
    width: int | None
    height: int | None

    @classmethod
    def of(cls, video: VideoRecord) -> "VideoBody":
        """Render one video."""
        facts = video.facts or {}
        return cls(
            id=video.id,
            name=video.name,
            size_bytes=video.size_bytes,
            sha256=video.sha256,
            duration=facts.get("duration"),
            nominal_fps=facts.get("nominal_fps"),
            vfr=facts.get("vfr"),
            width=facts.get("width"),
            height=facts.get("height"),
        )


class JobErrorBody(Body):
    """Why a job failed."""

    code: str
    message: str


class JobMetrics(Body):
    """Figures of a job that has ended."""

    queue_seconds: float | None = Field(description="From upload to the first worker.")
    run_seconds: float | None = Field(description="From the first worker to the end.")
    num_chunks: int | None


class JobLinks(Body):
    """Addresses belonging to a job; null while there is nothing."""

    self: str  # the name users know
    video: str
    events: str = Field(description="What happens, as server-sent events.")
    result: str | None
    activations: str | None
    cancel: str | None
    retry: str | None


class JobBody(Body):
    """A job."""

    id: str
    status: JobStatus
    stage: str | None = Field(
        description="fetching, validating, decoding, flow, features, localizing or writing."
    )
    progress: float = Field(ge=0, le=1)
    eta_seconds: float | None
    cancel_requested: bool
    video: VideoBody
    model: str = Field(description="NAME@VERSION, with :SPEED where it is not the model's own.")
    labels: list[str] | None
    options: dict[str, Any]
    queue: JobQueue
    tag: str | None
    camera: str | None
    recorded_at: datetime | None = Field(description="Wall-clock moment of the first frame.")
    batch_id: str | None = Field(description="Of the batch it was made for.")
    retry_of: str | None = Field(description="The job that it was asked for to repeat.")
    error: JobErrorBody | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    metrics: JobMetrics | None
    links: JobLinks

    @classmethod
    def of(cls, view: JobView) -> "JobBody":
        """Render one job."""
        job = view.job
        return cls(
            id=job.id,
            status=JobStatus(job.status),
            stage=job.stage,
            progress=round(job.progress, 4),
            eta_seconds=job.eta_seconds,
            cancel_requested=job.cancel_requested,
            video=VideoBody.of(view.video),
            model=job.model,
            labels=job.options.get("labels"),
            options=job.options,
            queue=JobQueue(job.queue),
            tag=job.tag,
            camera=job.camera,
            recorded_at=job.recorded_at,
            batch_id=view.batch_id,
            retry_of=job.retry_of,
            error=_error(job),
            created_at=job.created_at,
            started_at=job.started_at,
            completed_at=job.completed_at,
            metrics=_metrics(job),
            links=_links(view),
        )


class JobList(Body):
    """A page of jobs, newest first."""

    jobs: list[JobBody]
    next_page_token: str | None


class ModelBody(Body):
    """A model that jobs can name."""

    id: str = Field(description="NAME@VERSION.")
    name: str
    version: str
    method: str
    classes: list[str]
    recipe: str = Field(description="Digest of the feature recipe.")
    speeds: list[str] = Field(description="That jobs can wish for, its own first.")
    licence: str
    metrics: dict[str, Any]
    warnings: list[dict[str, Any]]
    default: bool = Field(description="Whether it is taken where a job names none.")


class ModelList(Body):
    """All models."""

    models: list[ModelBody]


class HealthBody(Body):
    """The process answers."""

    status: str = "ok"


class CheckBody(Body):
    """One thing the service stands on."""

    ok: bool
    detail: str


class ReadyBody(Body):
    """Whether jobs are accepted, and whether they will be worked on.

    ``ready``: both; ``degraded``: accepted and kept, but no worker was seen lately.
    """

    status: str
    checks: dict[str, CheckBody]


class ProblemBody(Body):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ProblemBody, "description": "Refused; `code` says why."},
    "5XX": {"model": ProblemBody, "description": "Failed; `code` says why."},
}
"""What every address may answer besides what it is for."""


def _error(job: JobRecord) -> JobErrorBody | None:
    if job.error_code is None:
        return None
    return JobErrorBody(code=job.error_code, message=job.error_message or "")


def _metrics(job: JobRecord) -> JobMetrics | None:
    if job.completed_at is None:
        return None
    started, ended = job.started_at, job.completed_at
    return JobMetrics(
        queue_seconds=round((started - job.created_at).total_seconds(), 3) if started else None,
        run_seconds=round((ended - started).total_seconds(), 3) if started else None,
        num_chunks=job.num_chunks,
    )


def _links(view: JobView) -> JobLinks:
    here = f"/v1/jobs/{view.job.id}"
    ended = view.job.completed_at is not None
    succeeded = view.job.status == JobStatus.SUCCEEDED
    return JobLinks(
        self=here,
        video=f"/v1/videos/{view.video.id}",
        events=f"{here}/events",
        result=f"{here}/result" if succeeded else None,
        activations=f"{here}/activations" if view.has_activations else None,
        cancel=None if ended else f"{here}/cancel",
        retry=f"{here}/retry" if ended and not succeeded else None,
    )
