"""Segments in Frigate's words: events as its MQTT topic has them, and as its API creates them.

Source: Frigate docs/integrations/mqtt.md (``frigate/events``) and frigate/api, ``POST
/api/events/{camera}/{label}/create``.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from service.bridges.segments import BridgeSegment

MAX_SUB_LABEL = 100
"""Source: Frigate, EventsSubLabelBody."""


def event_messages(segment: BridgeSegment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two messages of a segment that is over when it is told: ``new``, then ``end``.

    Frigate's consumers begin at ``new`` and wait for ``end``; one that gets only the second one
    has never heard of the event. The id is the same in both.

    Args:
        segment: with a camera and a moment.
    """
    opened, closed = _state(segment, over=False), _state(segment, over=True)
    return (
        {"type": "new", "before": opened, "after": opened},
        {"type": "end", "before": opened, "after": closed},
    )


def segment_message(segment: BridgeSegment) -> dict[str, Any]:
    """Return a segment in seconds of its video, for those that have no place on the clock."""
    return {
        "id": segment.id,
        "camera": segment.camera,
        "label": segment.label,
        "score": segment.score,
        "raw_score": segment.raw_score,
        "start": segment.start_seconds,
        "end": segment.end_seconds,
        "start_time": epoch_seconds(segment.started_at),
        "end_time": epoch_seconds(segment.ended_at),
        **_origin(segment),
    }


def state_message(segment: BridgeSegment, event_type: str) -> dict[str, Any]:
    """Return what the topics of cameras and labels hold: the last segment.

    Args:
        segment: with a camera and a moment.
        event_type: as Home Assistant's event entities want one.
    """
    started_at, ended_at = segment.started_at, segment.ended_at
    return {
        "event_type": event_type,
        **segment_message(segment),
        "started_at": None if started_at is None else started_at.isoformat(),
        "ended_at": None if ended_at is None else ended_at.isoformat(),
    }


def creation(
    segment: BridgeSegment, now: datetime, names: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    """Return path and body that make Frigate note a segment.

    Frigate stamps such an event with the present, so the recording it keeps reaches back by
    ``pre_capture``, to where the action began.

    Args:
        segment: with a camera and a moment.
        now: the present.
        names: our cameras -> Frigate's; others are called the same there.
    """
    camera = names.get(segment.camera or "", segment.camera or "")
    length = segment.end_seconds - segment.start_seconds
    begun = segment.started_at or now
    body = {
        "sub_label": None if segment.tag is None else segment.tag[:MAX_SUB_LABEL],
        "score": segment.score,
        "duration": max(1, math.ceil(length)),
        "include_recording": True,
        "pre_capture": max(0, math.ceil((now - begun).total_seconds())),
    }
    return f"/api/events/{_path_part(camera)}/{_path_part(segment.label)}/create", body


def epoch_seconds(moment: datetime | None) -> float | None:
    """Return seconds since the epoch to the millisecond; None for none."""
    return None if moment is None else round(moment.timestamp(), 3)


def _state(segment: BridgeSegment, *, over: bool) -> dict[str, Any]:
    return {
        "id": segment.id,
        "camera": segment.camera,
        "label": segment.label,
        "sub_label": segment.tag,
        "score": segment.score,
        "top_score": segment.score,
        "start_time": epoch_seconds(segment.started_at),
        "end_time": epoch_seconds(segment.ended_at) if over else None,
        # What consumers ask before they show anything; true of every segment.
        "false_positive": False,
        "stationary": False,
        "has_clip": False,
        "has_snapshot": False,
        "current_zones": [],
        "entered_zones": [],
        "raw_score": segment.raw_score,
        **_origin(segment),
    }


def _origin(segment: BridgeSegment) -> dict[str, Any]:
    return {
        "tag": segment.tag,
        "model": segment.model,
        "job": segment.job_id,
        "video": {"id": segment.video_id, "name": segment.video_name},
    }


def _path_part(name: str) -> str:
    # Frigate's proxy takes %2F for a slash again, and dots for folders.
    part = name.replace("/", "_")
    if part.strip(".") == "":
        part = part.replace(".", "_")
    return quote(part, safe="")
