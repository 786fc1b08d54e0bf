"""Mean average precision of temporal detections, the ActivityNet way: protocol ``P-ANET``.

Source: activitynet/ActivityNet Evaluation and its copies in the weakly supervised lineage, from
which this differs in two stated points: equal scores keep the order of the input (there the
order is undefined), and videos the original would ask a server about are not left out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import TrainingDataInvalid
from models.types import DoubleArray, IntArray

BoolArray = NDArray[np.bool_]

PROTOCOL = "P-ANET"
THUMOS_TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
ACTIVITYNET_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """One annotated instance; half-open seconds."""

    video: str
    label: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One predicted segment; half-open seconds, any score."""

    video: str
    label: str
    start_seconds: float
    end_seconds: float
    score: float


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Average precision per class and overlap threshold.

    Attributes:
        classes: labels in order.
        tiou_thresholds: in order.
        average_precision: float64[C, number of thresholds], in [0, 1].
        num_ground_truth, num_predictions: int64[C].
        num_videos: with at least one annotated instance.
    """

    classes: tuple[str, ...]
    tiou_thresholds: tuple[float, ...]
    average_precision: DoubleArray
    num_ground_truth: IntArray
    num_predictions: IntArray
    num_videos: int

    @property
    def map_per_tiou(self) -> DoubleArray:
        """float64[number of thresholds]: plain mean over classes."""
        return np.asarray(self.average_precision.mean(axis=0), np.float64)

    @property
    def average_map(self) -> float:
        """Plain mean of `map_per_tiou`."""
        return float(self.map_per_tiou.mean())

    def map_at(self, tiou: float) -> float:
        """Return the mean average precision at one of the thresholds.

        Raises:
            ValueError: it was not evaluated.
        """
        index = [bool(np.isclose(tiou, one)) for one in self.tiou_thresholds].index(True)
        return float(self.map_per_tiou[index])

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON, with its protocol and what it was measured on."""
        return {
            "protocol": PROTOCOL,
            "tiou_thresholds": list(self.tiou_thresholds),
            "map": [float(value) for value in self.map_per_tiou],
            "average_map": self.average_map,
            "average_precision": {
                label: [float(value) for value in row]
                for label, row in zip(self.classes, self.average_precision, strict=True)
            },
            "num_videos": self.num_videos,
            "num_ground_truth": int(self.num_ground_truth.sum()),
            "num_predictions": int(self.num_predictions.sum()),
        }

    def table(self) -> str:
        """Return a text table in percent: one row per class, then the mean; protocol on top."""
        width = max(len("mean AP"), *(len(label) for label in self.classes))
        head = " ".join(f"{tiou:>6.2f}" for tiou in self.tiou_thresholds)
        counts = (
            f"{self.num_videos} videos, {int(self.num_ground_truth.sum())} instances, "
            f"{int(self.num_predictions.sum())} predictions"
        )
        lines = [
            f"{PROTOCOL}: {counts}; AP in percent by tIoU",
            f"{'':{width}} {head}     GT",
        ]
        rows = zip(self.classes, self.average_precision, self.num_ground_truth, strict=True)
        for label, row, count in rows:
            cells = " ".join(f"{100 * value:>6.1f}" for value in row)
            lines.append(f"{label:{width}} {cells} {count:>6}")
        means = " ".join(f"{100 * value:>6.1f}" for value in self.map_per_tiou)
        lines.append(f"{'mean AP':{width}} {means}  average {100 * self.average_map:.1f}")
        return "\n".join(lines)


def mean_average_precision(
    predictions: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    tiou_thresholds: Sequence[float] = THUMOS_TIOUS,
) -> EvaluationResult:
    """Evaluate detections.

    Per class, predictions of all videos are ranked by score. Each takes the free instance of its
    class and video with which it overlaps most, if that overlap reaches the threshold; otherwise
    it is a false positive. Average precision is the area under the precision envelope, all
    points. A class without predictions has 0.

    Raises:
        TrainingDataInvalid: there is no ground truth, a prediction has a label unknown to it, or
            a time or score is not a number.
    """
    classes = tuple(sorted({truth.label for truth in ground_truth}))
    if not classes or not tiou_thresholds:
        message = "There is nothing to evaluate against: the ground truth has no instance."
        raise TrainingDataInvalid(message)
    unknown = sorted({one.label for one in predictions} - set(classes))
    if unknown:
        message = f"The ground truth has no instance of the predicted label {unknown[0]}."
        raise TrainingDataInvalid(message)
    tious = np.asarray(tiou_thresholds, np.float64)
    rows, num_truths, num_predictions = [], [], []
    for label in classes:
        truths = [one for one in ground_truth if one.label == label]
        found = [one for one in predictions if one.label == label]
        rows.append(_class_average_precision(found, truths, tious))
        num_truths.append(len(truths))
        num_predictions.append(len(found))
    return EvaluationResult(
        classes=classes,
        tiou_thresholds=tuple(float(tiou) for tiou in tious),
        average_precision=np.stack(rows),
        num_ground_truth=np.asarray(num_truths, np.int64),
        num_predictions=np.asarray(num_predictions, np.int64),
        num_videos=len({truth.video for truth in ground_truth}),
    )


def temporal_iou(one: DoubleArray, others: DoubleArray) -> DoubleArray:
    """Return float64[K]: intersection over union of one interval with float64[K, 2], seconds."""
    inter = np.minimum(one[1], others[:, 1]) - np.maximum(one[0], others[:, 0])
    inter = np.maximum(0.0, inter)
    union = (one[1] - one[0]) + (others[:, 1] - others[:, 0]) - inter
    iou: DoubleArray = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def interpolated_average_precision(precision: DoubleArray, recall: DoubleArray) -> float:
    """Return the area under the precision envelope. Source: PASCAL VOC 2011, all points."""
    padded = np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(padded[::-1])[::-1]
    levels = np.concatenate([[0.0], recall, [1.0]])
    changes = np.flatnonzero(levels[1:] != levels[:-1]) + 1
    return float(((levels[changes] - levels[changes - 1]) * envelope[changes]).sum())


def _class_average_precision(
    predictions: Sequence[Detection], truths: Sequence[GroundTruth], tious: DoubleArray
) -> DoubleArray:
    """Return float64[number of thresholds] of one class."""
    if not predictions:
        return np.zeros(len(tious))
    by_video: dict[str, list[tuple[float, float]]] = {}
    for truth in truths:
        by_video.setdefault(truth.video, []).append((truth.start_seconds, truth.end_seconds))
    intervals = {video: np.asarray(one, np.float64) for video, one in by_video.items()}
    taken = {video: np.zeros((len(tious), len(one)), np.bool_) for video, one in intervals.items()}
    scores = np.asarray([one.score for one in predictions], np.float64)
    spans = np.asarray([(p.start_seconds, p.end_seconds) for p in predictions], np.float64)
    if not (np.isfinite(scores).all() and np.isfinite(spans).all()):
        message = f"A prediction of {predictions[0].label} has a time or score that is no number."
        raise TrainingDataInvalid(message)
    order = np.argsort(-scores, kind="stable")
    hits = np.zeros((len(tious), len(predictions)), np.bool_)
    for rank, index in enumerate(order):
        video = predictions[index].video
        if video in intervals:
            overlaps = temporal_iou(spans[index], intervals[video])
            hits[:, rank] = _claim(overlaps, taken[video], tious)
    found = hits.cumsum(axis=1).astype(np.float64)
    precision = found / np.arange(1, len(predictions) + 1)
    recall = found / len(truths)
    return np.asarray(
        [interpolated_average_precision(p, r) for p, r in zip(precision, recall, strict=True)]
    )


def _claim(overlaps: DoubleArray, taken: BoolArray, tious: DoubleArray) -> BoolArray:
    """Let one prediction take its best free instance at each threshold; True where it did."""
    hit = np.zeros(len(tious), np.bool_)
    for candidate in np.argsort(-overlaps, kind="stable"):
        usable = ~hit & ~taken[:, candidate] & (overlaps[candidate] >= tious)
        taken[usable, candidate] = True
        hit |= usable
    return hit


def read_ground_truth(path: Path, subset: str | None = None) -> list[GroundTruth]:
    """Read the instances of an ActivityNet ground truth file, of one subset if named.

    Raises:
        TrainingDataInvalid: the file has another form.
    """
    database = _read_object(path, "database")
    try:
        return [
            GroundTruth(video, str(item["label"]), *_segment(item["segment"]))
            for video, entry in database.items()
            if subset is None or entry.get("subset") == subset
            for item in entry["annotations"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(path, "ground truth", error) from error


def read_detections(path: Path) -> list[Detection]:
    """Read the detections of an ActivityNet result file.

    Raises:
        TrainingDataInvalid: the file has another form.
    """
    results = _read_object(path, "results")
    try:
        return [
            Detection(video, str(item["label"]), *_segment(item["segment"]), float(item["score"]))
            for video, items in results.items()
            for item in items
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _malformed(path, "result", error) from error


def _segment(values: Iterable[Any]) -> tuple[float, float]:
    start_seconds, end_seconds = (float(value) for value in values)
    return start_seconds, end_seconds


def _read_object(path: Path, key: str) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        inner = document[key]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise _malformed(path, key, error) from error
    if not isinstance(inner, dict):
        raise _malformed(path, key, TypeError(f"{key} is no object"))
    return inner


def _malformed(path: Path, kind: str, error: Exception) -> TrainingDataInvalid:
    message = f"{path.name} is not an ActivityNet file with a proper {kind} part ({error!r})."
    return TrainingDataInvalid(message)
