"""Annotations as values: which video holds which action when, and which tags a video carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import TrainingDataInvalid

MAX_NAMED = 5  # names listed in one message
Tags = dict[str, tuple[str, ...]]
AmbiguousInterval = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class AnnotatedInstance:
    """One action in one video, in seconds.

    ActivityNet has a dozen instances without length; they are kept, because its evaluator counts
    them. An end before its start is never read.
    """

    video: str
    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One video of an annotation.

    Attributes:
        subset: as the source names it, for instance ``validation``; None where it does not say.
        duration_seconds: None where the source does not say.
        labels: the video's tags, each once, sorted. Most sources have them from the instances;
            W-TALC folders have tags of their own, which differ for 28 of 412 videos.
    """

    subset: str | None
    duration_seconds: float | None
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnnotationSet:
    """Everything an annotation says.

    Attributes:
        classes: the labels in the source's order, sorted where it has none.
        instances: in the source's order; none when times were not asked for.
        videos: video id -> entry, in the source's order.
        ambiguous: (video, start, end) in seconds, intervals that some evaluators leave out.
    """

    classes: tuple[str, ...]
    instances: tuple[AnnotatedInstance, ...]
    videos: Mapping[str, VideoEntry]
    ambiguous: tuple[AmbiguousInterval, ...] = ()

    def of_subset(self, subset: str) -> "AnnotationSet":
        """Return the part about the videos of one subset; the classes stay.

        Raises:
            TrainingDataInvalid: no video belongs to it.
        """
        kept = {video for video, entry in self.videos.items() if entry.subset == subset}
        if not kept:
            known = sorted({entry.subset for entry in self.videos.values() if entry.subset})
            offer = f"there are {listed(known)}" if known else "no video states a subset"
            message = f"No video belongs to the subset {subset}; {offer}."
            raise TrainingDataInvalid(message)
        return self.of_videos(kept)

    def of_videos(self, kept: set[str]) -> "AnnotationSet":
        """Return the part about some videos; the classes stay.

        So do ambiguous intervals of videos that are no entries here: nothing says where they
        belong, and they matter only to predictions in those very videos.
        """
        return AnnotationSet(
            classes=self.classes,
            instances=tuple(one for one in self.instances if one.video in kept),
            videos={video: entry for video, entry in self.videos.items() if video in kept},
            ambiguous=tuple(
                one for one in self.ambiguous if one[0] in kept or one[0] not in self.videos
            ),
        )

    def to_activitynet_json(self) -> dict[str, Any]:
        """Return the ground truth in ActivityNet's form, for evaluation.

        Videos without instances are there with an empty list. Ambiguous intervals have no place
        in this form and are left out, as are tags that no instance carries.
        """
        annotations: dict[str, list[dict[str, Any]]] = {video: [] for video in self.videos}
        for one in self.instances:
            segment = [one.start_seconds, one.end_seconds]
            annotations[one.video].append({"label": one.label, "segment": segment})
        database: dict[str, dict[str, Any]] = {}
        for video, entry in self.videos.items():
            database[video] = {"subset": entry.subset, "annotations": annotations[video]}
            if entry.duration_seconds is not None:
                database[video]["duration"] = entry.duration_seconds
        return {"version": "kinetag", "taxonomy": [], "database": database}


def tags_of(annotations: AnnotationSet, subset: str | None = None) -> Tags:
    """Return video id -> labels: the only thing training may take from annotations.

    Raises:
        TrainingDataInvalid: no video belongs to the subset.
    """
    chosen = annotations if subset is None else annotations.of_subset(subset)
    return {video: entry.labels for video, entry in chosen.videos.items()}


def listed(names: list[str]) -> str:
    """Return names as part of a sentence; the first few of many."""
    shown = ", ".join(names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def checked_instance(where: str, video: str, label: str, times: object) -> AnnotatedInstance:
    """Return an instance from a pair of numbers, or of texts that are numbers.

    Raises:
        TrainingDataInvalid: they are no seconds, or the end comes before the start.
    """
    start, end = checked_seconds(where, video, times)
    return AnnotatedInstance(video, label, start, end)


def checked_seconds(where: str, video: str, times: object) -> tuple[float, float]:
    """Return start and end in seconds; arguments and errors as `checked_instance`."""
    pair = times if isinstance(times, list | tuple) else ()
    try:
        start, end = (float(value) for value in pair)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"{where} has a segment of {video} that is no pair of seconds; repair it."
        raise TrainingDataInvalid(message) from error
    # Written so that NaN fails, too.
    if not (0 <= start <= end < float("inf")):
        message = f"{where} has a segment of {video} from {start} to {end} seconds; repair it."
        raise TrainingDataInvalid(message)
    return start, end


def labels_by_video(instances: list[tuple[str, str]]) -> Tags:
    """Return video id -> its labels, each once, sorted, from (video, label) pairs."""
    found: dict[str, set[str]] = {}
    for video, label in instances:
        found.setdefault(video, set()).add(label)
    return {video: tuple(sorted(labels)) for video, labels in found.items()}
