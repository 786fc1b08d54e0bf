"""Renders results: native JSON, ActivityNet JSON and CSV. Torch-free; rounding happens only here.

Native JSON is the product's own shape; the other formats are made from it, so that a stored
native result can be rendered in any format later.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.types import Activations, HeadProposals, LocalizationResult, Segment

NATIVE_VERSION = "1"
SECONDS_DIGITS = 6
SCORE_DIGITS = 6
MILLISECONDS = 1000
CSV_COLUMNS = ("video", "label", "start", "end", "score")


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


def to_native(result: LocalizationResult) -> dict[str, Any]:
    """Render one result as the native JSON object.

    Seconds are floats from the first presentation time. Segments stand by start, then label.
    """
    video = result.video
    ordered = sorted(result.segments, key=lambda one: (one.start_seconds, one.label))
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
        "segments": [_segment_to_json(segment) for segment in ordered],
        "labels_seen": {
            label: round(score, SCORE_DIGITS)
            for label, score in sorted(result.labels_seen.items(), key=lambda item: -item[1])
        },
        "warnings": [warning.to_json() for warning in result.warnings],
    }


def activations_to_json(activations: Activations) -> dict[str, Any]:
    """Render activations as JSON, complete: thresholds can be changed later on what it holds.

    ``scoring`` is null where it is the same as ``localization``; ``window_scores`` and
    ``proposals`` are null where there are none. Nothing is rounded.
    """
    own, curves = activations.proposals, activations.window_scores
    same = np.array_equal(activations.scoring, activations.localization)
    return {
        "classes": list(activations.classes),
        "localization": activations.localization.tolist(),
        "scoring": None if same else activations.scoring.tolist(),
        "attention": activations.attention.tolist(),
        "video_scores": activations.video_scores.tolist(),
        "window_scores": None if curves is None else curves.tolist(),
        "proposals": None
        if own is None
        else {
            "class_index": own.class_index.tolist(),
            "steps": own.steps.tolist(),
            "raw_scores": own.raw_scores.tolist(),
        },
    }


def activations_from_json(document: Mapping[str, Any]) -> Activations:
    """Restore what `activations_to_json` rendered, value for value."""
    localization = np.array(document["localization"], np.float32)
    scoring, curves = document.get("scoring"), document.get("window_scores")
    own = document.get("proposals")
    return Activations(
        localization=localization,
        scoring=localization if scoring is None else np.array(scoring, np.float32),
        video_scores=np.array(document["video_scores"], np.float32),
        attention=np.array(document["attention"], np.float32),
        classes=tuple(document["classes"]),
        window_scores=None if curves is None else np.array(curves, np.float32),
        proposals=None
        if own is None
        else HeadProposals(
            class_index=np.array(own["class_index"], np.int64),
            steps=np.array(own["steps"], np.float64).reshape(-1, 2),
            raw_scores=np.array(own["raw_scores"], np.float64),
        ),
    )


def _stem(name: str) -> str:
    return name.rsplit(".", 1)[0] if "." in name else name


def to_activitynet(native: Mapping[str, Any]) -> dict[str, Any]:
    """Render a native object as an ActivityNet result file with all three top keys.

    Source: activitynet/ActivityNet Evaluation, which insists on version, results, external_data.
    """
    segments = [
        {
            "label": segment["label"],
            "score": segment["score"],
            "segment": [segment["start"], segment["end"]],
        }
        for segment in native["segments"]
    ]
    return {
        "version": "VERSION 1.3",
        "results": {_stem(native["video"]["name"]): segments},
        "external_data": {
            "used": True,
            "details": f"model {native['model']}, feature recipe {native['recipe']}",
        },
    }


def to_csv(native: Mapping[str, Any]) -> str:
    """Render a native object as CSV ``video,label,start,end,score`` with a header line.

    A cell that a spreadsheet would run as a formula is prefixed with an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    video = _inert_cell(native["video"]["name"])
    for segment in native["segments"]:
        label = _inert_cell(segment["label"])
        writer.writerow([video, label, segment["start"], segment["end"], segment["score"]])
    return buffer.getvalue()


def _inert_cell(text: str) -> str:
    # Source: OWASP "CSV Injection": cells starting with these run as formulas.
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _as_json_line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"


def render_native(native: Mapping[str, Any]) -> str:
    """One line of native JSON."""
    return _as_json_line(native)


def render_activitynet(native: Mapping[str, Any]) -> str:
    """One line of ActivityNet JSON."""
    return _as_json_line(to_activitynet(native))


EXPORTS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "native": (".json", render_native),
    "activitynet": (".activitynet.json", render_activitynet),
    "csv": (".csv", to_csv),
}
"""Format name -> (file ending, renderer of a native object)."""
