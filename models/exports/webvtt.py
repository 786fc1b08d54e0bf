"""Results as WebVTT of kind ``metadata``: any HTML5 player hands a page each segment in time."""

import json
from collections.abc import Mapping
from typing import Any

MILLISECONDS = 1000
SECONDS_PER_MINUTE = MINUTES_PER_HOUR = 60


def to_webvtt(native: Mapping[str, Any]) -> str:
    """Render a native object as WebVTT, one cue per segment, its payload the segment as JSON.

    Cues stand by start, as the format wants it. A segment shorter than a millisecond gets one.

    Source: W3C WebVTT, 4.1: cue text holds neither ``-->`` nor a line terminator.
    """
    cues = [_cue(number, segment) for number, segment in enumerate(native["segments"], 1)]
    return "\n".join(["WEBVTT\n", *cues])


def _cue(number: int, segment: Mapping[str, Any]) -> str:
    start_ms = segment["start_ms"]
    end_ms = max(segment["end_ms"], start_ms + 1)
    return f"{number}\n{_clock(start_ms)} --> {_clock(end_ms)}\n{_payload(segment)}\n"


def _payload(segment: Mapping[str, Any]) -> str:
    text = json.dumps(dict(segment), separators=(",", ":"), allow_nan=False)
    # Inside JSON strings alone can these stand, and there an escape means the same.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, MILLISECONDS)
    minutes, seconds = divmod(seconds, SECONDS_PER_MINUTE)
    hours, minutes = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{rest:03d}"
