"""Segments as Grafana's annotations.

Source: Grafana, Annotations HTTP API: ``POST /api/annotations`` with ``time`` and ``timeEnd`` in
epoch milliseconds, ``tags`` and ``text``; without a dashboard it is an annotation of the
organization, which any dashboard finds by its tags.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from service.bridges.segments import BridgeSegment

ANNOTATIONS = "/api/annotations"
OUR_TAG = "kinetag"
MAX_FOUND = 1000
MAX_TAG_CHARACTERS = 100
"""Source: Grafana's table ``tag``: 100 characters each for key and value."""


def annotation(segment: BridgeSegment) -> dict[str, Any]:
    """Return a segment as an annotation.

    The text ends in the segment's id, by which it is found again.

    Args:
        segment: with a moment.
    """
    started_at, ended_at = segment.started_at, segment.ended_at
    if started_at is None or ended_at is None:
        message = "a segment without a moment is no annotation"
        raise ValueError(message)
    tags = [OUR_TAG, segment.label, *(one for one in (segment.camera, segment.tag) if one)]
    place = f" · {segment.camera}" if segment.camera else ""
    return {
        "time": _milliseconds(started_at),
        "timeEnd": _milliseconds(ended_at),
        "tags": list(dict.fromkeys(tag[:MAX_TAG_CHARACTERS] for tag in tags)),
        "text": f"{segment.label} {segment.score:.2f}{place} · {segment.id}",
    }


def query_of(body: Mapping[str, Any]) -> str:
    """Return the path that asks for our annotations about the same time."""
    parameters = {
        "from": body["time"],
        "to": body["timeEnd"],
        "tags": OUR_TAG,
        "type": "annotation",
        "limit": MAX_FOUND,
    }
    return f"{ANNOTATIONS}?{urlencode(parameters)}"


def is_among(body: Mapping[str, Any], found: Iterable[Any]) -> bool:
    """Return whether an annotation is there already, by what Grafana answered."""
    return any(isinstance(one, Mapping) and one.get("text") == body["text"] for one in found)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
