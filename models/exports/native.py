"""The product's own shape of a result, and the two things that are done to it later."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from models.evidence import LocalizationResult
from models.overrides import LocalizeOverrides
from models.types import Segment

NATIVE_VERSION = "1"
SECONDS_DIGITS = 6
SCORE_DIGITS = 6
MILLISECONDS = 1000


def to_native(result: LocalizationResult) -> dict[str, Any]:
    """Render one result as the native JSON object, all of its segments included.

    Seconds are floats from the first presentation time. Segments stand by start, then label.
    """
    video = result.video
    return {
        "version": NATIVE_VERSION,
        "video": {
            "name": video.name,
            "sha256": video.sha256,
            "duration": round(video.duration_seconds, SECONDS_DIGITS),
            "nominal_fps": round(video.nominal_fps, SECONDS_DIGITS),
            "vfr": video.variable_frame_rate,
            "width": video.width_px,
            "height": video.height_px,
        },
        "model": result.model,
        "speed": result.speed,
        "recipe": result.recipe_digest,
        "computed_with": dict(sorted(result.computed_with.items())),
        "segments": render_segments(result.segments),
        "labels_seen": render_labels_seen(result.labels_seen),
        "warnings": [warning.to_json() for warning in result.warnings],
    }


def render_segments(segments: tuple[Segment, ...]) -> list[dict[str, Any]]:
    """Render segments as in the native object's ``segments``."""
    ordered = sorted(segments, key=lambda one: (one.start_seconds, one.label))
    return [_segment_to_json(segment) for segment in ordered]


def render_labels_seen(scores: Mapping[str, float]) -> dict[str, float]:
    """Render video scores as in the native object's ``labels_seen``, highest first."""
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    return {label: round(score, SCORE_DIGITS) for label, score in ordered}


def selected(native: Mapping[str, Any], overrides: LocalizeOverrides) -> dict[str, Any]:
    """Return a native object without the segments whose label or score is not wanted."""
    segments = [one for one in native["segments"] if overrides.keeps(one["label"], one["score"])]
    return {**native, "segments": segments}


def stamped(
    native: Mapping[str, Any], recorded_at: datetime | None, camera: str | None = None
) -> dict[str, Any]:
    """Return a native object that says where and when: ``camera``, ``recorded_at``, and times.

    Args:
        native: result of `to_native`.
        recorded_at: wall-clock moment of the first frame, with its zone; None adds no times.
        camera: added where it is given.

    Returns:
        Each segment with ``start_time`` and ``end_time``, RFC 3339 in UTC, to the millisecond.
    """
    placed = dict(native) if camera is None else {**native, "camera": camera}
    if recorded_at is None:
        return placed
    segments = [
        {
            **segment,
            "start_time": _moment(recorded_at, segment["start"]),
            "end_time": _moment(recorded_at, segment["end"]),
        }
        for segment in native["segments"]
    ]
    return {**placed, "recorded_at": _moment(recorded_at, 0.0), "segments": segments}


def _segment_to_json(segment: Segment) -> dict[str, Any]:
    return {
        "label": segment.label,
        "score": round(segment.score, SCORE_DIGITS),
        "start": round(segment.start_seconds, SECONDS_DIGITS),
        "end": round(segment.end_seconds, SECONDS_DIGITS),
        "start_ms": round(segment.start_seconds * MILLISECONDS),
        "end_ms": round(segment.end_seconds * MILLISECONDS),
        "start_frame": segment.start_frame,
        "end_frame": segment.end_frame,
        "raw_score": round(segment.raw_score, SCORE_DIGITS),
    }


def _moment(recorded_at: datetime, seconds: float) -> str:
    moment = recorded_at.astimezone(UTC) + timedelta(milliseconds=round(seconds * MILLISECONDS))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
