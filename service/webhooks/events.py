"""What receivers are told: types of events, who wants which, and the bodies of messages."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from service.jobs.records import JobRecord, VideoRecord
from service.search.filters import SegmentFilter

MAX_SEGMENT_MESSAGES = 100
"""Per job and receiver; the rest is in the result."""


class MessageType(StrEnum):
    """What a message is about."""

    SEGMENT_DETECTED = "segment.detected"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    BATCH_FINISHED = "batch.finished"
    WEBHOOK_TEST = "webhook.test"


SUBSCRIBABLE = tuple(kind for kind in MessageType if kind is not MessageType.WEBHOOK_TEST)
DEFAULT_TYPES = tuple(kind for kind in SUBSCRIBABLE if kind is not MessageType.SEGMENT_DETECTED)
"""Where nothing is asked for: segments may be many."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What one receiver wants to be told.

    Attributes:
        types: of messages.
        labels: only segments of these; None for all.
        min_score, max_score: only segments of such a score.
        cameras, tags: only jobs of these; None for all.
        min_duration, max_duration: only segments of such a length, in seconds; None for any.
        search: {id, name} of the saved search that this is the filter of.
    """

    types: frozenset[str]
    labels: frozenset[str] | None = None
    min_score: float = 0.0
    max_score: float | None = None
    cameras: frozenset[str] | None = None
    tags: frozenset[str] | None = None
    min_duration: float | None = None
    max_duration: float | None = None
    search: Mapping[str, str] | None = None

    @classmethod
    def of(cls, wish: Mapping[str, Any], search: Mapping[str, str] | None = None) -> "Interest":
        """Read events and the filter, each part of which may be missing or None."""
        return cls(
            types=frozenset(wish.get("events") or DEFAULT_TYPES),
            labels=_words(wish.get("labels")),
            min_score=wish.get("min_score") or 0.0,
            max_score=wish.get("max_score"),
            cameras=_words(wish.get("cameras")),
            tags=_words(wish.get("tags")),
            min_duration=wish.get("min_duration"),
            max_duration=wish.get("max_duration"),
            search=search,
        )

    def is_about(self, camera: str | None, tag: str | None) -> bool:
        """Say whether anything of a job of this camera and tag is to be told."""
        return (self.cameras is None or camera in self.cameras) and (
            self.tags is None or tag in self.tags
        )

    def segments(self, found: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the segments that pass the filter, by the rules of searches."""
        bounds = SegmentFilter(
            min_score=self.min_score,
            max_score=self.max_score,
            min_duration=self.min_duration,
            max_duration=self.max_duration,
        )
        return [
            one
            for one in found
            if bounds.holds(one["score"], one["start"], one["end"])
            and (self.labels is None or one["label"] in self.labels)
        ]


@dataclass(frozen=True, slots=True)
class Message:
    """One message before it is addressed.

    Attributes:
        part: tells the messages of one event apart.
    """

    type: str
    data: Mapping[str, Any]
    part: int = 0

    def body(self, moment: datetime) -> str:
        """Return the body as it is sent and signed."""
        document = {"type": self.type, "timestamp": rfc3339(moment), "data": self.data}
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that ended, its video, and the native result if it has one."""

    job: JobRecord
    video: VideoRecord
    result: Mapping[str, Any] | None = None

    def messages(self, interest: Interest) -> list[Message]:
        """Return what a receiver wants to hear about the job, in order."""
        if not interest.is_about(self._camera, self.job.tag):
            return []
        segments = interest.segments(self._segments())
        told: list[Message] = []
        if MessageType.SEGMENT_DETECTED in interest.types:
            best = sorted(segments, key=lambda one: -one["score"])[:MAX_SEGMENT_MESSAGES]
            searched = {} if interest.search is None else {"search": interest.search}
            best.sort(key=lambda one: (one["start"], one["end"], one["label"]))
            told = [
                Message(
                    MessageType.SEGMENT_DETECTED,
                    {**self._about(), **searched, "segment": self._on_the_wall(one)},
                    part,
                )
                for part, one in enumerate(best, start=1)
            ]
        ended = f"job.{self.job.status}"
        if ended in interest.types:
            told.append(Message(ended, {**self._about(), **self._outcome(len(segments))}))
        return told

    @property
    def _camera(self) -> str | None:
        return self.job.camera or self.video.camera

    def _segments(self) -> list[Mapping[str, Any]]:
        """What the result shows its user: the job's own labels and threshold apply."""
        if self.result is None:
            return []
        own = Interest.of({**self.job.options, "events": None})
        return own.segments(self.result["segments"])

    def _about(self) -> dict[str, Any]:
        here = f"/v1/jobs/{self.job.id}"
        succeeded = self.result is not None
        return {
            "id": self.job.id,
            "tag": self.job.tag,
            "camera": self._camera,
            "model": self.job.model,
            "video": {"id": self.video.id, "name": self.video.name},
            "links": {"self": here, "result": f"{here}/result" if succeeded else None},
        }

    def _outcome(self, num_matching: int) -> dict[str, Any]:
        if self.job.error_code is not None:
            return {"error": {"code": self.job.error_code, "message": self.job.error_message}}
        if self.result is None:
            return {}
        return {
            "segments": len(self._segments()),
            "segments_matching": num_matching,
            "truncated": num_matching > MAX_SEGMENT_MESSAGES,
        }

    def _on_the_wall(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        """Add the wall-clock times where it is known when the video was recorded."""
        recorded_at = self.job.recorded_at or self.video.recorded_at
        if recorded_at is None:
            return dict(segment)
        start, end = (
            timedelta(milliseconds=round(1000 * segment[name])) for name in ("start", "end")
        )
        return {
            **segment,
            "start_time": rfc3339(recorded_at + start),
            "end_time": rfc3339(recorded_at + end),
        }


def _words(given: Iterable[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


def rfc3339(moment: datetime) -> str:
    """Return a moment in UTC to the millisecond."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
