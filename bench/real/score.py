"""What runs are worth: mAP, its spread over seeds, and paired differences between detectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.real.runs import Run
from bench.real.sets import RealSet
from models.evaluation.bootstrap import BootstrapDifference, paired_bootstrap
from models.evaluation.matching import TRUE_POSITIVE, Matches, match_detections
from models.evaluation.records import GroundTruth
from models.evaluation.scoring import EvaluationResult, score_matches

PROTOCOL = "anet"
BOOTSTRAP_SEED = 0
RESAMPLES = 1000
# A class tagged less often in training, or seen less often in the test, says little.
MIN_TRAIN_VIDEOS, MIN_TEST_INSTANCES = 5, 5
FOUND_TIOU = 0.3
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Scored:
    """The runs of one detector on one set and backbone.

    Attributes:
        detector: its name.
        runs: one per seed.
        matches, results: one per run.
    """

    detector: str
    runs: tuple[Run, ...]
    matches: tuple[Matches, ...]
    results: tuple[EvaluationResult, ...]

    @property
    def average(self) -> float:
        """Average mAP over thresholds and runs, in [0, 1]."""
        return float(np.mean([result.average_map for result in self.results]))

    def class_average(self, classes: Sequence[str]) -> list[float]:
        """Return, per run, the average mAP over some of the classes."""
        return [
            float(
                np.mean(
                    [
                        row.mean()
                        for label, row in zip(result.classes, result.average_precision, strict=True)
                        if label in classes
                    ]
                )
            )
            for result in self.results
        ]


def ground_truth(real: RealSet) -> list[GroundTruth]:
    """Return the instances of the test videos."""
    return [
        GroundTruth(video.name, one.label, one.start_seconds, one.end_seconds)
        for video in real.split("test")
        for one in video.instances
    ]


def scored(real: RealSet, runs: Sequence[Run]) -> Scored:
    """Match and score the runs of one detector."""
    truths = ground_truth(real)
    matches = tuple(match_detections(run.detections, truths, PROTOCOL, real.tious) for run in runs)
    results = tuple(score_matches(one) for one in matches)
    return Scored(runs[0].detector, tuple(runs), matches, results)


def difference(real: RealSet, first: Scored, second: Scored) -> BootstrapDifference:
    """Return the first detector's average mAP minus the second's, resampled over test videos."""
    return paired_bootstrap(
        first.matches,
        second.matches,
        np.random.default_rng(BOOTSTRAP_SEED),
        videos=[video.name for video in real.split("test")],
        resamples=RESAMPLES,
    )


def frequent_classes(real: RealSet) -> tuple[str, ...]:
    """Return the classes that have enough tags to learn from and instances to measure with."""
    tags = {c: sum(c in video.labels for video in real.split("train")) for c in real.classes}
    seen = instance_counts(real)
    return tuple(
        label
        for label in real.classes
        if tags[label] >= MIN_TRAIN_VIDEOS and seen[label] >= MIN_TEST_INSTANCES
    )


def instance_counts(real: RealSet) -> Mapping[str, int]:
    """Return class -> instances in the test videos."""
    labels = [one.label for video in real.split("test") for one in video.instances]
    return {label: labels.count(label) for label in real.classes}


def found_share(real: RealSet, run: Run) -> float:
    """Return the share of instances that the kept detections find at tIoU 0.3."""
    truths = ground_truth(real)
    matches = match_detections(run.kept, truths, PROTOCOL, (FOUND_TIOU,))
    hits = sum(int((one.verdicts == TRUE_POSITIVE).sum()) for one in matches.classes)
    return hits / len(truths)


def quiet_rates(real: RealSet, run: Run) -> tuple[float, float]:
    """Return segments per hour of quiet video: with the fitted thresholds, and of all."""
    hours = sum(video.duration_seconds for video in real.split("quiet")) / SECONDS_PER_HOUR
    kept, every = run.quiet_segments
    return (kept / hours, every / hours) if hours else (0.0, 0.0)
