"""The bodies of /v1/batches; public names."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from service.api.deps import ID_BODY
from service.api.jobbodies import JobOptions, Moment, Reference, Word
from service.api.schemas import Body, JobErrorBody
from service.api.webhook_bodies import ABOUT_EVENTS, MAX_EVENT_NAMES, EventName, JobWebhookWish
from service.batches.commands import MAX_ITEMS
from service.batches.records import BatchItemRecord
from service.batches.states import BATCH_ENDED, BatchStatus, ItemStatus
from service.batches.views import BatchView

MAX_NAME_CHARACTERS = 1024
MAX_PATTERNS = 32

VideoId = Annotated[str, StringConstraints(pattern=f"^vid{ID_BODY}$")]
ItemName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_CHARACTERS)]


class BatchItemWish(BaseModel):
    """One video of a batch: that is there, at a URL, or on the server; one of the three."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video_id: VideoId | None = Field(None, description="Of a video that is there.")
    url: Reference | None = Field(None, description="http or https, without a login.")
    path: Reference | None = Field(
        None, description="Absolute, below one of KINETAG_PATH_ROOTS; read where it lies."
    )
    name: ItemName | None = Field(
        None, description="In tables and combined results; made from the reference if unset."
    )
    tag: Word | None = Field(None, description="Yours; the batch's if unset.")
    camera: Word | None = Field(None, description="Where it was recorded; the batch's if unset.")
    recorded_at: Moment | None = Field(
        None, description="Wall-clock moment of the first frame, with its time zone."
    )

    @field_validator("name", "path", "url")
    @classmethod
    def _printable(cls, text: str | None) -> str | None:
        if text is not None and not text.isprintable():
            message = "holds characters that cannot be printed; files of such names can be uploaded"
            raise ValueError(message)
        return text

    @model_validator(mode="after")
    def _one_video(self) -> "BatchItemWish":
        named = [one for one in (self.video_id, self.url, self.path) if one is not None]
        if len(named) != 1:
            message = "name the video by video_id, by url or by path, by one of them"
            raise ValueError(message)
        return self


class BatchWebhookWish(JobWebhookWish):
    """A webhook of one batch alone."""

    events: list[EventName] | None = Field(  # type: ignore[assignment]  # one event more
        None,
        min_length=1,
        max_length=MAX_EVENT_NAMES,
        description=ABOUT_EVENTS.partition(";")[0]
        + "; without them, of batch.finished. Those of jobs are told for each of its jobs.",
    )


class BatchWish(BaseModel):
    """What is asked of a batch, wherever its videos are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Word | None = Field(
        None, description="NAME[@VERSION][:SPEED]; the deployment's default if unset."
    )
    options: JobOptions = Field(default_factory=JobOptions)
    queue: Literal["interactive", "batch"] = Field(
        "batch", description="Interactive jobs go before those of batch."
    )
    name: Word | None = Field(None, description="What to call the batch.")
    tag: Word | None = Field(None, description="Yours; given to every job of the batch.")
    camera: Word | None = Field(None, description="Where the videos were recorded.")
    pattern: list[Word] | None = Field(
        None,
        min_length=1,
        max_length=MAX_PATTERNS,
        description="Names of files that are taken, such as *.mp4. Of a folder the usual endings "
        "of videos if unset, of an archive every file.",
    )
    webhook: Reference | BatchWebhookWish | None = Field(
        None, description="URL that is told of the batch's end; or an object, to choose more."
    )

    def webhook_wish(self) -> dict[str, Any] | None:
        """Return the batch's own webhook as it is stored."""
        if self.webhook is None:
            return None
        if isinstance(self.webhook, str):
            return {"url": self.webhook}
        return self.webhook.model_dump(exclude_none=True)


class BatchRequest(BatchWish):
    """A batch of listed videos, of a folder on the server, or of an archive: one of the three."""

    items: list[BatchItemWish] | None = Field(None, max_length=MAX_ITEMS, min_length=1)
    folder: Reference | None = Field(
        None, description="Absolute, below one of KINETAG_PATH_ROOTS; with all folders in it."
    )
    zip_video_id: VideoId | None = Field(
        None, description="A ZIP archive that was uploaded as if it were a video."
    )

    @model_validator(mode="after")
    def _one_source(self) -> "BatchRequest":
        named = [one for one in (self.items, self.folder, self.zip_video_id) if one is not None]
        if len(named) != 1:
            message = "say where the videos are by items, by folder or by zip_video_id"
            raise ValueError(message)
        if self.items is not None and self.pattern is not None:
            message = "pattern goes with folder or zip_video_id"
            raise ValueError(message)
        return self


class BatchCounts(Body):
    """How many items there are in each state."""

    waiting: int
    taken: int = Field(description="Being unpacked.")
    open: int = Field(description="With a job that has not ended.")
    succeeded: int
    failed: int
    canceled: int


class BatchLinks(Body):
    """Addresses belonging to a batch; null while there is nothing."""

    self: str  # the name users know
    items: str
    failures: str | None
    result: str | None
    cancel: str | None
    retry: str | None


class BatchBody(Body):
    """A batch."""

    id: str
    status: BatchStatus
    name: str | None
    source: str = Field(description="items, folder or archive.")
    model: str = Field(description="NAME@VERSION, with :SPEED where it is not the model's own.")
    options: dict[str, Any]
    queue: str
    tag: str | None
    camera: str | None
    cancel_requested: bool
    num_items: int
    counts: BatchCounts
    reused: int = Field(description="Of those that succeeded: had the same result before.")
    progress: float = Field(ge=0, le=1)
    eta_seconds: float | None
    size_bytes: int = Field(description="Of the items whose size is known.")
    done_bytes: int = Field(description="Of these, of the items that have ended.")
    error: JobErrorBody | None
    created_at: datetime
    completed_at: datetime | None
    links: BatchLinks

    @classmethod
    def of(cls, view: BatchView) -> "BatchBody":
        """Render one batch."""
        batch, progress = view.batch, view.progress
        error = None
        if batch.error_code is not None:
            error = JobErrorBody(code=batch.error_code, message=batch.error_message or "")
        return cls(
            id=batch.id,
            status=BatchStatus(batch.status),
            name=batch.name,
            source=batch.source,
            model=batch.model,
            options=batch.options,
            queue=batch.queue,
            tag=batch.tag,
            camera=batch.camera,
            cancel_requested=batch.cancel_requested,
            num_items=batch.num_items,
            counts=BatchCounts(**progress.counts),
            reused=progress.reused,
            progress=round(progress.fraction, 4),
            eta_seconds=progress.eta_seconds,
            size_bytes=progress.size_bytes,
            done_bytes=progress.done_bytes,
            error=error,
            created_at=batch.created_at,
            completed_at=batch.completed_at,
            links=_links(view),
        )


class BatchList(Body):
    """A page of batches, newest first."""

    batches: list[BatchBody]
    next_page_token: str | None


class BatchItemLinks(Body):
    """Addresses belonging to an item; null while there is nothing."""

    job: str | None
    result: str | None
    video: str | None


class BatchItemBody(Body):
    """One video of a batch."""

    position: int
    name: str
    status: ItemStatus
    source: str = Field(description="url, path, video, or member of the archive.")
    reference: str | None = Field(description="The URL, or the path.")
    job_id: str | None
    video_id: str | None
    reused: bool = Field(description="Whether its job was there before the batch.")
    attempts: int = Field(description="Jobs made for it, and unpackings that were lost.")
    tag: str | None
    camera: str | None
    recorded_at: datetime | None
    size_bytes: int | None
    error: JobErrorBody | None
    ended_at: datetime | None
    links: BatchItemLinks

    @classmethod
    def of(cls, item: BatchItemRecord) -> "BatchItemBody":
        """Render one item."""
        error = None
        if item.error_code is not None:
            error = JobErrorBody(code=item.error_code, message=item.error_message or "")
        job = f"/v1/jobs/{item.job_id}" if item.job_id is not None else None
        done = item.status == ItemStatus.SUCCEEDED
        return cls(
            position=item.position,
            name=item.name,
            status=ItemStatus(item.status),
            source=item.kind,
            reference=item.source if item.kind in {"url", "path"} else None,
            job_id=item.job_id,
            video_id=item.video_id,
            reused=item.reused,
            attempts=item.attempts,
            tag=item.tag,
            camera=item.camera,
            recorded_at=item.recorded_at,
            size_bytes=item.size_bytes,
            error=error,
            ended_at=item.ended_at,
            links=BatchItemLinks(
                job=job,
                result=f"{job}/result" if job is not None and done else None,
                video=f"/v1/videos/{item.video_id}" if item.video_id is not None else None,
            ),
        )


class BatchItemList(Body):
    """A page of items in their order."""

    items: list[BatchItemBody]
    next_page_token: str | None


class BatchRetried(Body):
    """What is tried again."""

    retried: int = Field(description="Items that failed or were canceled.")
    batch: BatchBody


def _links(view: BatchView) -> BatchLinks:
    here = f"/v1/batches/{view.batch.id}"
    counts = view.progress.counts
    ended = view.batch.status in BATCH_ENDED
    again = counts[ItemStatus.FAILED] + counts[ItemStatus.CANCELED] > 0
    return BatchLinks(
        self=here,
        items=f"{here}/items",
        failures=f"{here}/items?status=failed" if counts[ItemStatus.FAILED] else None,
        result=f"{here}/result" if counts[ItemStatus.SUCCEEDED] else None,
        cancel=None if ended else f"{here}/cancel",
        retry=f"{here}/retry" if again or view.batch.status == BatchStatus.FAILED else None,
    )
