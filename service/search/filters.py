"""What a search asks for: one value object for queries, saved searches and webhooks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from service.search.records import EPOCH, SCORE_UNITS

MILLISECONDS = 1000
MAX_MS = 2**31 - 1
"""24 days: no video is longer."""

SLACK_DIGITS = 3
"""A thousandth of a unit is the rounding of a float, not the caller's wish."""

Range = tuple[int | None, int | None]
"""Lowest and highest; None where there is no bound."""


@dataclass(frozen=True, slots=True)
class SegmentFilter:
    """Which segments to find; None leaves a field out of account.

    Attributes:
        label, camera, tag: any of these.
        min_score, max_score: both included, as are the durations.
        since, until: the segment starts then or later, and before that. Who has no wall-clock
            time matches neither.
        min_duration, max_duration: in seconds.
        job, video: ids.
    """

    label: tuple[str, ...] | None = None
    camera: tuple[str, ...] | None = None
    tag: tuple[str, ...] | None = None
    min_score: float | None = None
    max_score: float | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    job: str | None = None
    video: str | None = None

    def at_camera(self, camera: str) -> "SegmentFilter | None":
        """Return this filter for the segments of one camera; None if it asks for others only."""
        if self.camera is not None and camera not in self.camera:
            return None
        return replace(self, camera=(camera,))

    def to_json(self) -> dict[str, Any]:
        """Return the fields that were given, as JSON values."""
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: _to_json(value) for name, value in given.items() if value is not None}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "SegmentFilter":
        """Read what `to_json` wrote; of a newer release's fields it knows nothing."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: _from_json(name, stored[name]) for name in stored if name in known})

    def holds(self, score: float, start: float, end: float) -> bool:
        """Say whether score and length of a segment are within the bounds, as a search would.

        Args:
            score: public, in [0, 1].
            start: in seconds.
            end: in seconds.
        """
        duration_ms = whole_ms(end) - whole_ms(start)
        return _within(round(score * SCORE_UNITS), self.score_range) and _within(
            duration_ms, self.duration_range
        )

    @property
    def score_range(self) -> Range:
        """Lowest and highest score, both included, as they are stored."""
        return _at_least(self.min_score, SCORE_UNITS), _at_most(self.max_score, SCORE_UNITS)

    @property
    def duration_range(self) -> Range:
        """Shortest and longest, both included, in milliseconds."""
        return (
            _at_least(self.min_duration, MILLISECONDS),
            _at_most(self.max_duration, MILLISECONDS),
        )


def whole_ms(seconds: float) -> int:
    """Return the milliseconds that are stored of a time in a video.

    Rounded as a result's own absolute times are, see `models.exports.stamped`.
    """
    return min(MAX_MS, max(0, round(seconds * MILLISECONDS)))


def milliseconds(moment: datetime) -> int:
    """Return the whole milliseconds since 1970, rounded down."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def moment_of(since_1970_ms: int) -> datetime:
    """Return the moment so many milliseconds after 1970."""
    return EPOCH + timedelta(milliseconds=since_1970_ms)


def _within(value: int, bounds: Range) -> bool:
    lowest, highest = bounds
    return (lowest is None or value >= lowest) and (highest is None or value <= highest)


def _at_least(value: float | None, units: int) -> int | None:
    return None if value is None else math.ceil(round(value * units, SLACK_DIGITS))


def _at_most(value: float | None, units: int) -> int | None:
    return None if value is None else math.floor(round(value * units, SLACK_DIGITS))


def _to_json(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _from_json(name: str, value: Any) -> Any:  # noqa: ANN401 - a field's own type
    if isinstance(value, list):
        return tuple(value)
    return datetime.fromisoformat(value) if name in {"since", "until"} else value
