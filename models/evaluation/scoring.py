"""Average precision of matched detections, its mean over classes, and the result that is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.matching import (
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    ClassMatches,
    Matches,
    VerdictArray,
    match_detections,
)
from models.evaluation.protocols import Protocol
from models.evaluation.records import THUMOS_TIOUS, AmbiguousInterval, Detection, GroundTruth
from models.types import DoubleArray, IntArray

PERCENT = 100.0
PERCENT_DIGITS = 4


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Average precision per class and overlap threshold, under one protocol.

    Attributes:
        protocol: that counted.
        classes: labels in order.
        tiou_thresholds: in order.
        average_precision: float64[C, number of thresholds], in [0, 1].
        num_ground_truth, num_predictions: int64[C].
        num_videos: with at least one annotated instance.
    """

    protocol: Protocol
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
        """Return the result as JSON: protocol, what was counted, and average precision in percent.

        The keys of ``map`` and of each class's ``ap`` are the thresholds as text.
        """
        rows = zip(
            self.classes,
            self.average_precision,
            self.num_ground_truth,
            self.num_predictions,
            strict=True,
        )
        return {
            "protocol": self.protocol.name,
            "videos": self.num_videos,
            "instances": int(self.num_ground_truth.sum()),
            "predictions": int(self.num_predictions.sum()),
            "tiou_thresholds": list(self.tiou_thresholds),
            "map": self._by_tiou(self.map_per_tiou),
            "average": _percent(self.average_map),
            "per_class": {
                label: {
                    "instances": int(num_truths),
                    "predictions": int(num_predictions),
                    "ap": self._by_tiou(row),
                    "average": _percent(float(row.mean())),
                }
                for label, row, num_truths, num_predictions in rows
            },
        }

    def table(self) -> str:
        """Return a text table in percent: protocol on top, a row per class, then the mean."""
        width = max(len("mean AP"), *(len(label) for label in self.classes))
        head = " ".join(f"{tiou:>6.4g}" for tiou in self.tiou_thresholds)
        counts = (
            f"{self.num_videos} videos, {int(self.num_ground_truth.sum())} instances, "
            f"{int(self.num_predictions.sum())} predictions"
        )
        lines = [
            f"{self.protocol.title}: {counts}; average precision in percent by tIoU",
            f"{'':{width}} {head}    mean instances predictions",
        ]
        columns = (
            (*self.classes, "mean AP"),
            np.vstack([self.average_precision, self.map_per_tiou]),
            (*self.num_ground_truth, self.num_ground_truth.sum()),
            (*self.num_predictions, self.num_predictions.sum()),
        )
        for label, row, num_truths, num_predictions in zip(*columns, strict=True):
            cells = " ".join(f"{PERCENT * value:>6.1f}" for value in (*row, row.mean()))
            lines.append(f"{label:{width}} {cells}  {num_truths:>9} {num_predictions:>11}")
        return "\n".join(lines)

    def _by_tiou(self, values: DoubleArray) -> dict[str, float]:
        return {
            tiou_name(tiou): _percent(float(value))
            for tiou, value in zip(self.tiou_thresholds, values, strict=True)
        }


def evaluate(
    detections: Sequence[Detection],
    ground_truth: Sequence[GroundTruth],
    protocol: str = "anet",
    tious: Sequence[float] = THUMOS_TIOUS,
    ambiguous: Sequence[AmbiguousInterval] = (),
) -> EvaluationResult:
    """Match and score detections under one protocol; arguments and errors of `match_detections`."""
    return score_matches(match_detections(detections, ground_truth, protocol, tious, ambiguous))


def score_matches(matches: Matches) -> EvaluationResult:
    """Sum matches up: average precision per class, in which one without detections has 0."""
    truths = np.stack([one.truths_per_video for one in matches.classes])
    return EvaluationResult(
        protocol=matches.protocol,
        classes=tuple(one.label for one in matches.classes),
        tiou_thresholds=matches.tious,
        average_precision=np.stack(
            [
                average_precision(
                    one.verdicts, int(one.truths_per_video.sum()), matches.protocol.envelope
                )
                for one in matches.classes
            ]
        ),
        num_ground_truth=truths.sum(axis=1),
        num_predictions=np.asarray([len(one.scores) for one in matches.classes], np.int64),
        num_videos=int((truths.sum(axis=0) > 0).sum()),
    )


def average_precision(verdicts: VerdictArray, num_truths: int, envelope: bool) -> DoubleArray:
    """Return float64[N]: the precision at each true positive, summed and divided by the instances.

    Args:
        verdicts: int8[N, K] in rank order; what is not counted leaves precision as it is.
        num_truths: instances of the class, > 0.
        envelope: each precision is first raised to the highest at its recall or beyond, which
            makes the sum the area under the interpolated curve.

    Source: PASCAL VOC 2011 (all points) with the envelope; THUMOS14 development kit without.
    """
    hits = verdicts == TRUE_POSITIVE
    precision, _ = _curves(verdicts, num_truths)
    if envelope:
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return np.asarray((precision * hits).sum(axis=1) / num_truths, np.float64)


def precision_recall(matches: ClassMatches) -> tuple[DoubleArray, DoubleArray]:
    """Return precision and recall float64[N, K] after each ranked detection, without envelope."""
    return _curves(matches.verdicts, int(matches.truths_per_video.sum()))


def tiou_name(tiou: float) -> str:
    """Return a threshold as short text, ``0.5`` or ``0.55``."""
    return f"{tiou:.6g}"


def _curves(verdicts: VerdictArray, num_truths: int) -> tuple[DoubleArray, DoubleArray]:
    found = (verdicts == TRUE_POSITIVE).cumsum(axis=1)
    counted = found + (verdicts == FALSE_POSITIVE).cumsum(axis=1)
    return found / np.maximum(counted, 1), found / num_truths


def _percent(share: float) -> float:
    return round(PERCENT * share, PERCENT_DIGITS)
