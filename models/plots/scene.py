"""What a picture of a timeline shows, gathered from a result and the evidence behind it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from models.config import ProposalSettings
from models.errors import ContractViolation
from models.plots.lettering import clean
from models.plots.primitives import Strip
from models.types import Activations, DoubleArray, FloatArray

MAX_NOTES = 3


@dataclass(frozen=True, slots=True)
class Curves:
    """How much each class is going on over time.

    Attributes:
        seconds: float64[T], rising, the middle of each step.
        values: float32[T, C] in [0, 1].
        threshold: the lowest level that they are cut at; None where the head proposes by itself.
    """

    seconds: DoubleArray
    values: FloatArray
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """One segment: seconds inside the video, start <= end, and its score in [0, 1]."""

    start: float
    end: float
    score: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A timeline's content. Texts are clean.

    Attributes:
        name: of the video.
        model: that looked at it.
        duration_seconds: > 0, finite.
        classes: every class that is known of, in order; those of the curves first.
        marks: class -> its segments by start; classes without any have none.
        curves: None where they are not known; their columns are the first of ``classes``.
        recorded_at: moment of the first frame; the ruler then shows the time of day, in UTC.
        camera: None where it is not known.
        thumbnails: None for none.
        notes: sentences below the picture.
    """

    name: str
    model: str
    duration_seconds: float
    classes: tuple[str, ...]
    marks: Mapping[str, tuple[Mark, ...]]
    curves: Curves | None = None
    recorded_at: datetime | None = None
    camera: str | None = None
    thumbnails: Strip | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def num_segments(self) -> int:
        """Segments of all classes."""
        return sum(map(len, self.marks.values()))


def curves_of(
    activations: Activations, seconds: DoubleArray, settings: ProposalSettings | None = None
) -> Curves:
    """Return the curves of activations; with settings, where they are cut too."""
    threshold = None
    if settings is not None and settings.source == "thresholds" and settings.thresholds:
        threshold = min(settings.thresholds)
    return Curves(seconds, activations.localization, threshold)


def scene_of(
    native: Mapping[str, Any],
    *,
    classes: Sequence[str] = (),
    curves: Curves | None = None,
    thumbnails: Strip | None = None,
) -> Scene:
    """Return the scene of a native result.

    Args:
        native: stamped where camera and moment are known.
        classes: of the model, those of the curves' columns.
        curves: of the model's classes.
        thumbnails: of the video.

    Raises:
        ContractViolation: the duration is not a positive number, or curves do not fit the classes.
    """
    duration = float(native["video"]["duration"])
    if not (duration > 0 and math.isfinite(duration)):
        message = f"a video's duration must be finite and > 0 to be drawn, got {duration}"
        raise ContractViolation(message)
    if curves is not None and curves.values.shape != (len(curves.seconds), len(classes)):
        message = (
            f"curves of shape {curves.values.shape} do not fit {len(curves.seconds)} instants "
            f"and {len(classes)} classes"
        )
        raise ContractViolation(message)
    found = sorted({one["label"] for one in native["segments"]} - set(classes))
    known = (*classes, *found)
    recorded_at = native.get("recorded_at")
    camera = native.get("camera")
    return Scene(
        name=clean(native["video"]["name"]),
        model=clean(native["model"]),
        duration_seconds=duration,
        classes=known,
        marks=_marks(native["segments"], duration),
        curves=curves,
        recorded_at=None if recorded_at is None else datetime.fromisoformat(recorded_at),
        camera=None if camera is None else clean(camera),
        thumbnails=thumbnails,
        notes=_notes(native.get("warnings", ())),
    )


def _marks(segments: Sequence[Mapping[str, Any]], duration: float) -> dict[str, tuple[Mark, ...]]:
    marks: dict[str, list[Mark]] = {}
    for one in segments:
        start, end = np.clip((one["start"], one["end"]), 0.0, duration).tolist()
        mark = Mark(start, max(start, end), min(max(float(one["score"]), 0.0), 1.0))
        marks.setdefault(one["label"], []).append(mark)
    return {
        label: tuple(sorted(ones, key=lambda mark: (mark.start, mark.end)))
        for label, ones in marks.items()
    }


def _notes(warnings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    notes = [clean(str(one["message"])) for one in warnings]
    rest = len(notes) - MAX_NOTES
    return (*notes[:MAX_NOTES], *([f"And {rest} more warnings."] if rest > 0 else []))
