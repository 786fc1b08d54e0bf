"""Results for tools in which people look at and correct them: Label Studio and FiftyOne.

Both count frames from 1 and include the last one; ours count from 0 and exclude it.
"""

import math
from collections.abc import Mapping
from typing import Any

from models.exports.tables import TIME_COLUMNS, video_key

CONTROL, OBJECT = "actions", "video"
"""Names of the tags TimelineLabels and Video in the labeling configuration of docs/formats.md."""

ROUNDING_FRAMES = 1e-6
"""Seconds are rounded to microseconds; a frame's very start must not fall into the one before."""

DETECTION_FIELDS = ("raw_score", "start", "end", *TIME_COLUMNS)


def to_label_studio(native: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Render a native object as a list of one Label Studio task with one prediction.

    ``data.video`` is the video's name; Label Studio wants an address there that it can load.
    Label Studio has no frame numbers but time times the frame rate given to its Video tag: so are
    those of a video whose rate varies.

    Source: Label Studio documentation, tags TimelineLabels and Video, "Import pre-annotations".
    """
    video, segments = native["video"], native["segments"]
    regions = [_region(number, segment, video) for number, segment in enumerate(segments, 1)]
    prediction = {
        "model_version": native["model"],
        "score": max((segment["score"] for segment in segments), default=0.0),
        "result": regions,
    }
    data = {"video": video["name"], "fps": video["nominal_fps"]}
    return [{"data": data, "predictions": [prediction]}]


def to_fiftyone(native: Mapping[str, Any]) -> dict[str, Any]:
    """Render a native object as the ``labels.json`` of a FiftyOneTemporalDetectionDataset.

    Labels are strings, so that the ``labels`` of several files can be put into one.

    Source: FiftyOne documentation, FiftyOneTemporalDetectionDataset: supports are the first and
    the last frame, from 1, inclusive.
    """
    detections = [
        {
            "label": segment["label"],
            "support": _inclusive(segment["start_frame"], segment["end_frame"]),
            "confidence": segment["score"],
            "attributes": {name: segment[name] for name in DETECTION_FIELDS if name in segment},
        }
        for segment in native["segments"]
    ]
    return {"labels": {video_key(native["video"]["name"]): detections}}


def _region(number: int, segment: Mapping[str, Any], video: Mapping[str, Any]) -> dict[str, Any]:
    first, last = _inclusive(segment["start_frame"], segment["end_frame"])
    if video["vfr"] and video["nominal_fps"] > 0:
        fps = video["nominal_fps"]
        start = math.floor(segment["start"] * fps + ROUNDING_FRAMES)
        first, last = _inclusive(start, math.ceil(segment["end"] * fps - ROUNDING_FRAMES))
    return {
        "id": f"segment-{number}",
        "from_name": CONTROL,
        "to_name": OBJECT,
        "type": "timelinelabels",
        "value": {
            "ranges": [{"start": first, "end": last}],
            "timelinelabels": [segment["label"]],
        },
        "score": segment["score"],
    }


def _inclusive(start_frame: int, end_frame: int) -> list[int]:
    """Return a half-open range from 0 as a closed one from 1, never empty."""
    return [start_frame + 1, max(end_frame, start_frame + 1)]
