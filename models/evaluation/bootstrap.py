"""Whether one detector is better than another, or only luckier with these videos.

Videos are the unit that is drawn: instances of one video stand or fall together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import ContractViolation, EvaluationDataInvalid
from models.evaluation.matching import ClassMatches, Matches
from models.evaluation.scoring import average_precision
from models.types import DoubleArray, IntArray

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class BootstrapDifference:
    """Mean average precision of the first minus that of the second, in [-1, 1].

    Attributes:
        difference: on the videos as they are.
        mean_difference: over the resamples.
        low, high: percentile interval over the resamples.
        confidence: share of the resamples inside the interval.
        share_positive: share of the resamples in which the first is better; ties count half.
        resamples: that had an instance at all.
    """

    difference: float
    mean_difference: float
    low: float
    high: float
    confidence: float
    share_positive: float
    resamples: int

    @property
    def beyond_chance(self) -> bool:
        """The interval does not hold 0."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON, with ``beyond_chance``."""
        return {
            "difference": self.difference,
            "mean_difference": self.mean_difference,
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
            "share_positive": self.share_positive,
            "resamples": self.resamples,
            "beyond_chance": self.beyond_chance,
        }


def paired_bootstrap(
    first: Sequence[Matches],
    second: Sequence[Matches],
    rng: np.random.Generator,
    videos: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> BootstrapDifference:
    """Compare two detectors on the same resampled videos.

    Each resample draws as many videos as there are, with replacement. A video drawn m times
    counts as m videos with the same instances and detections. The figure of a detector is its
    average mAP over the thresholds and the classes with an instance in the resample, averaged
    over its runs. Both detectors see the same draws.

    Args:
        first: one `Matches` per run (seed) of the first detector.
        second: likewise; all runs of one protocol, one set of thresholds and one ground truth.
        rng: gives the draws.
        videos: what is drawn from; by default every video with an instance or a detection of any
            run. Name them where videos without either belong to the test set.
        resamples: > 0.
        confidence: share of the resamples inside the interval, in (0, 1).

    Raises:
        ContractViolation: runs are missing or do not fit each other.
        EvaluationDataInvalid: no resample had an instance.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile interval.
    """
    runs = [*first, *second]
    _refuse_misfits(first, second)
    names = sorted({name for run in runs for name in run.videos}) if videos is None else videos
    index = {name: i for i, name in enumerate(names)}
    if len(index) != len(names) or not names:
        message = "videos must be at least one name, each once"
        raise ContractViolation(message)
    columns = [[_Columns.of(one, run, index) for one in run.classes] for run in runs]
    draws = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    weights = np.concatenate([np.ones((1, len(names)), np.int64), draws])
    figures = np.array([[_weighted_map(run, one) for run in columns] for one in weights])
    deltas = figures[:, : len(first)].mean(axis=1) - figures[:, len(first) :].mean(axis=1)
    valid = deltas[1:][~np.isnan(deltas[1:])]
    if not valid.size:
        message = "No resample held an instance; give ground truth for the videos."
        raise EvaluationDataInvalid(message)
    tail = (1 - confidence) / 2
    low, high = np.quantile(valid, [tail, 1 - tail])
    return BootstrapDifference(
        difference=float(deltas[0]),
        mean_difference=float(valid.mean()),
        low=float(low),
        high=float(high),
        confidence=confidence,
        share_positive=float((valid > 0).mean() + (valid == 0).mean() / 2),
        resamples=len(valid),
    )


@dataclass(frozen=True, slots=True)
class _Columns:
    """One class of one run on the drawn videos' index; K ranked detections, V videos."""

    matches: ClassMatches
    video_indices: IntArray
    kept: IntArray
    truths_per_video: IntArray
    envelope: bool

    @classmethod
    def of(cls, one: ClassMatches, run: Matches, index: dict[str, int]) -> "_Columns":
        """Place a class on the index; videos outside it are never drawn."""
        places = np.asarray([index.get(name, -1) for name in run.videos], np.int64)
        truths = np.zeros(len(index), np.int64)
        truths[places[places >= 0]] = one.truths_per_video[places >= 0]
        kept = np.flatnonzero(places[one.video_indices] >= 0)
        return cls(one, places[one.video_indices[kept]], kept, truths, run.protocol.envelope)

    def average_precision(self, weights: IntArray) -> DoubleArray | None:
        """Return float64[N] with video v counted weights[v] times; None without an instance."""
        num_truths = int(self.truths_per_video @ weights)
        if not num_truths:
            return None
        repeated = np.repeat(self.kept, weights[self.video_indices])
        return average_precision(self.matches.verdicts[:, repeated], num_truths, self.envelope)


def _weighted_map(run: Sequence[_Columns], weights: IntArray) -> float:
    per_class = [one.average_precision(weights) for one in run]
    present = [one.mean() for one in per_class if one is not None]
    return float(np.mean(present)) if present else float("nan")


def _refuse_misfits(first: Sequence[Matches], second: Sequence[Matches]) -> None:
    runs = [*first, *second]
    if not first or not second:
        message = "both detectors need at least one run"
        raise ContractViolation(message)
    if len({(run.protocol.name, run.tious, _truths(run)) for run in runs}) > 1:
        message = "all runs must share protocol, thresholds and ground truth"
        raise ContractViolation(message)


def _truths(run: Matches) -> tuple[tuple[str, str, int], ...]:
    """Return (class, video, instances) wherever there are any."""
    return tuple(
        (one.label, run.videos[video], int(one.truths_per_video[video]))
        for one in run.classes
        for video in np.flatnonzero(one.truths_per_video)
    )
