"""The bodies of results: what the native format holds, and how segments can be asked for anew."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from models.overrides import (
    MAX_ALPHA,
    MAX_CUTS,
    MAX_LABEL_LENGTH,
    MAX_LABELS,
    MIN_ALPHA,
    MIN_NMS_THRESHOLD,
    RAW_SCORE_LIMIT,
)
from service.api.schemas import Body

Label = Annotated[str, StringConstraints(min_length=1, max_length=MAX_LABEL_LENGTH)]
Cut = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class ResultVideo(Body):
    """The video that a result is of."""

    name: str
    sha256: str
    duration: float = Field(description="Seconds.")
    nominal_fps: float
    vfr: bool = Field(description="Whether the frame rate varies.")
    width: int
    height: int


class ResultSegment(Body):
    """One action in time; `start_time` and `end_time` where the recording's moment is known."""

    label: str
    score: float = Field(ge=0, le=1)
    start: float = Field(description="Seconds from the first frame.")
    end: float
    start_ms: int
    end_ms: int
    start_frame: int = Field(description="By presentation order, from 0.")
    end_frame: int = Field(description="Exclusive.")
    raw_score: float
    start_time: str | None = Field(None, description="RFC 3339.")
    end_time: str | None = None


class ResultWarning(Body):
    """Something to know about a result."""

    code: str
    message: str
    seconds: float | None


class ResultBody(Body):
    """A native result."""

    version: str
    video: ResultVideo
    model: str
    speed: str | None = None
    recipe: str
    computed_with: dict[str, str]
    segments: list[ResultSegment]
    labels_seen: dict[str, float] = Field(description="Label -> video score.")
    warnings: list[ResultWarning]
    camera: str | None = None
    recorded_at: str | None = None


class CurvesWindow(Body):
    """The stretch of a video that curves are of, and its steps, one beyond it on each side."""

    start: float = Field(description="Seconds, cut to the video.")
    end: float
    first_step: int
    num_steps: int


class CurvesBody(Body):
    """Activations thinned for plots; every value is the highest of the steps of its point."""

    classes: list[str]
    num_steps: int = Field(description="T of the whole video, before thinning.")
    window: CurvesWindow | None = Field(None, description="Null: the whole video.")
    thresholds: list[float] | None = Field(
        None, description="At which the job's segments were cut; null: the model proposes them."
    )
    seconds: list[float] = Field(description="The middle of each point.")
    localization: list[list[float]] = Field(description="By point, by class.")
    scoring: list[list[float]] | None = Field(description="Null: as `localization`.")
    attention: list[float]
    stream_attention: dict[str, list[float]] = Field(
        description="What `rgb` and `flow` see by themselves; empty where a head sees them as one."
    )
    video_scores: list[float]
    window_scores: list[list[float]] | None
    proposals: dict[str, list[Any]] | None = Field(description="Of a head that makes its own.")


class NmsChoice(BaseModel):
    """How overlapping segments of one label are suppressed; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    kind: Literal["hard", "soft", "soft_once", "contain"] | None = None
    threshold: float | None = Field(
        None, ge=MIN_NMS_THRESHOLD, le=1, allow_inf_nan=False, description="Overlap."
    )
    alpha: float | None = Field(
        None, ge=MIN_ALPHA, le=MAX_ALPHA, allow_inf_nan=False, description="Of both soft kinds."
    )


class SegmentChoice(BaseModel):
    """What can be chosen anew of a finished job.

    A field that is not given is as in the job; one given as null is as the model has it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    labels: list[Label] | None = Field(None, max_length=MAX_LABELS)
    min_score: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    class_threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    thresholds: list[Cut] | None = Field(None, min_length=1, max_length=MAX_CUTS)
    min_raw_score: float | None = Field(
        None, ge=-RAW_SCORE_LIMIT, le=RAW_SCORE_LIMIT, allow_inf_nan=False
    )
    nms: NmsChoice | None = None

    def changes(self) -> dict[str, Any]:
        """Return what was given, null included, as JSON values."""
        return self.model_dump(exclude_unset=True)
