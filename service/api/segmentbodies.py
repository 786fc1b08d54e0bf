"""What can be asked of /v1/segments and kept as a search, and the bodies of the answers."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.api.jobbodies import Id, Moment, Word
from service.api.schemas import Body
from service.api.webhook_bodies import Label, Score, Seconds
from service.search.filters import SegmentFilter
from service.search.finding import Facet, FoundSegment
from service.search.paths import Order
from service.search.records import CountKind
from service.webhooks.events import rfc3339

SegmentFormat = Literal["native", "csv", "jsonl", "grafana"]

MAX_WORDS = 100
DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 200
MAX_EXPORT_SIZE = 10_000
MAX_TOKEN_CHARACTERS = 200
MILLISECONDS = 1000

Labels = Annotated[list[Label], Field(min_length=1, max_length=MAX_WORDS)]
Words = Annotated[list[Word], Field(min_length=1, max_length=MAX_WORDS)]


class SegmentWish(BaseModel):
    """Which segments: everything that is given has to hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Labels | None = Field(None, description="Any of these; repeat the parameter.")
    min_score: Score | None = Field(None, description="Included, as all bounds but `until`.")
    max_score: Score | None = None
    camera: Words | None = Field(None, description="Of the job: any of these.")
    tag: Words | None = Field(None, description="Of the job: any of these.")
    since: Moment | None = Field(
        None, description="Starts then or later, on the wall clock; with time zone."
    )
    until: Moment | None = Field(None, description="Starts before then.")
    min_duration: Seconds | None = Field(None, description="Seconds.")
    max_duration: Seconds | None = Field(None, description="Seconds.")
    job: Id | None = Field(None, description="Id of a job.")
    video: Id | None = Field(None, description="Id of a video.")

    @model_validator(mode="after")
    def _not_empty(self) -> "SegmentWish":
        for low, high in (("min_score", "max_score"), ("min_duration", "max_duration")):
            lowest, highest = getattr(self, low), getattr(self, high)
            if lowest is not None and highest is not None and lowest > highest:
                message = f"{low} is above {high}, so nothing could be found"
                raise ValueError(message)
        if self.since is not None and self.until is not None and self.since >= self.until:
            message = "since is not before until, so nothing could be found"
            raise ValueError(message)
        return self

    def filter(self) -> SegmentFilter:
        """Return what is to be found."""
        given: dict[str, Any] = {
            name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value
            for name in SegmentWish.model_fields
            if (value := getattr(self, name)) is not None
        }
        return SegmentFilter(**given)


class SegmentQuery(SegmentWish):
    """Which segments, in which order and form, and how many at a time."""

    order: Order = Field(Order.TIME, description="time: the latest first; score: the best first.")
    format: SegmentFormat = Field(
        "native", description="csv, jsonl and grafana are streamed; their next page is in `Link`."
    )
    page_size: int | None = Field(
        None,
        ge=1,
        le=MAX_EXPORT_SIZE,
        description=f"Native: up to {MAX_PAGE_SIZE}, else {DEFAULT_PAGE_SIZE}. Other formats: "
        f"{MAX_EXPORT_SIZE} if not given.",
    )
    page_token: Annotated[str, StringConstraints(max_length=MAX_TOKEN_CHARACTERS)] | None = Field(
        None, description="next_page_token of the page before."
    )

    @model_validator(mode="after")
    def _page_fits(self) -> "SegmentQuery":
        if self.format == "native" and (self.page_size or 0) > MAX_PAGE_SIZE:
            message = f"page_size is at most {MAX_PAGE_SIZE} in the native format"
            raise ValueError(message)
        return self


class SegmentVideoBody(Body):
    """The video of a segment."""

    id: str
    name: str
    duration: float | None = Field(description="Seconds.")


class SegmentBody(Body):
    """One segment with what it was found in."""

    id: str
    job: str = Field(description="Id of its job.")
    video: SegmentVideoBody
    label: str
    score: float = Field(ge=0, le=1)
    raw_score: float
    start: float = Field(description="Seconds from the first frame, to the millisecond.")
    end: float
    start_ms: int
    end_ms: int
    start_time: str | None = Field(description="RFC 3339; null where `recorded_at` is unknown.")
    end_time: str | None
    camera: str | None
    tag: str | None
    model: str
    created_at: datetime = Field(description="When it was found.")


class SegmentList(Body):
    """A page of segments; only without `next_page_token` it is the last."""

    segments: list[SegmentBody]
    next_page_token: str | None = Field(
        description="Also a page that is short, or empty, may have one."
    )


class FacetBody(Body):
    """A value, and how many segments have it."""

    value: str
    count: int


class FacetsBody(Body):
    """What segments there are, the most frequent first; at most 1000 of each kind."""

    labels: list[FacetBody]
    cameras: list[FacetBody]
    tags: list[FacetBody]

    @classmethod
    def of(cls, facets: dict[CountKind, list[Facet]]) -> "FacetsBody":
        """Render the counts."""
        rendered = {
            kind: [FacetBody(value=one.value, count=one.count) for one in found]
            for kind, found in facets.items()
        }
        return cls(
            labels=rendered[CountKind.LABEL],
            cameras=rendered[CountKind.CAMERA],
            tags=rendered[CountKind.TAG],
        )


def segment_json(found: FoundSegment) -> dict[str, Any]:
    """Return a segment as `SegmentBody` has it; a page of models would take ten times as long."""
    row, job, video = found.row, found.job, found.video
    start_time, end_time = found.start_time, found.end_time
    return {
        "id": found.id,
        "job": job.id,
        "video": {
            "id": video.id,
            "name": video.name,
            "duration": (video.facts or {}).get("duration"),
        },
        "label": row.label,
        "score": found.score,
        "raw_score": row.raw_score,
        "start": row.start_ms / MILLISECONDS,
        "end": found.end_ms / MILLISECONDS,
        "start_ms": row.start_ms,
        "end_ms": found.end_ms,
        "start_time": None if start_time is None else rfc3339(start_time),
        "end_time": None if end_time is None else rfc3339(end_time),
        "camera": job.camera,
        "tag": job.tag,
        "model": job.model,
        "created_at": rfc3339(job.completed_at or job.created_at),
    }
