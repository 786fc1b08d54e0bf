"""Scores that mean something, from tags alone: no timestamp says which segment is right.

For each tagged video and class the best raw score is set against the tag. A logistic curve
through these pairs turns a raw score into the probability that a video whose best segment of a
class scores so really shows the class. Where a tag is absent every segment of the class is false:
that gives each class the raw score below which its segments are left out.

Source: Platt's logistic calibration with smoothed targets; its use on the best segment of tagged
videos is ours.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.config import ProposalSettings
from models.localize.calibration import ScoreCalibration
from models.localize.segments import localize_activations
from models.prediction import predict
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead
from models.types import DoubleArray, FeatureSet, IntArray

LOWEST_RAW_SCORE = -1.0  # of a class without any proposal: no contrast is lower
MIN_POSITIVE_PAIRS = 10  # held-out videos alone calibrate from so many tags on
NEWTON_STEPS = 60
RIDGE = 1e-3
LOST_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What tags say about scores.

    Attributes:
        calibration: None where there is nothing to fit (one kind of tag only).
        class_min_scores: raw score below which segments of a class are left out, by class.
        fitted_on: ``held-out videos`` or ``training videos``.
        num_pairs: of a video and a class.
        silent_share: of the tags, in these videos, that no segment at all was proposed for.
    """

    calibration: ScoreCalibration | None
    class_min_scores: tuple[float, ...]
    fitted_on: str
    num_pairs: int
    silent_share: float = 0.0


def calibrate(trained: TrainedHead, dataset: TaggedDataset) -> Calibrated:
    """Fit the scores of a trained head to the tags of its dataset.

    Held-out videos are used where they carry enough tags; else all videos are, whose scores the
    head has seen and which are therefore somewhat too confident.
    """
    videos, fitted_on = trained.held_out_videos, "held-out videos"
    if int(dataset.labels[videos].sum()) < MIN_POSITIVE_PAIRS:
        videos, fitted_on = np.arange(len(dataset.ids), dtype=np.int64), "training videos"
    best = best_raw_scores(trained, dataset, videos)
    labels = dataset.labels[videos]
    return Calibrated(
        calibration=fit_logistic(best.ravel(), labels.ravel()),
        class_min_scores=tuple(
            class_min_score(best[labels[:, c], c], best[~labels[:, c], c])
            for c in range(labels.shape[1])
        ),
        fitted_on=fitted_on,
        num_pairs=labels.size,
        silent_share=float((best[labels] <= LOWEST_RAW_SCORE).mean()),
    )


def best_raw_scores(trained: TrainedHead, dataset: TaggedDataset, videos: IntArray) -> DoubleArray:
    """Return float64[videos, C]: the best raw score of each class in each video.

    No class and no segment is left out beforehand, so that absent classes show their scores too.
    """
    settings = everything(trained.settings.proposals)
    best = np.full((len(videos), len(dataset.classes)), LOWEST_RAW_SCORE)
    for row, index in enumerate(videos):
        values = dataset.features[index]
        grid = dataset.recipe.grid(
            ((len(values) - 1) * dataset.recipe.stride_frames + dataset.recipe.window_frames)
            / dataset.recipe.fps
        )
        features = FeatureSet(
            values, grid.snippet_seconds(), dataset.recipe.digest, grid.duration_seconds
        )
        for one in localize_activations(predict(trained, features), grid, settings):
            best[row, one.class_index] = max(best[row, one.class_index], one.raw_score)
    return best


def everything(settings: ProposalSettings) -> ProposalSettings:
    """Return settings under which nothing is left out for its score."""
    return replace(
        settings, class_threshold=0.0, min_raw_score=LOWEST_RAW_SCORE, class_min_scores=()
    )


def fit_logistic(raw: DoubleArray, present: NDArray[np.bool_]) -> ScoreCalibration | None:
    """Fit P(tag | best raw score) by Newton's method; None unless both kinds of tag occur.

    A raw score that does not rise with the tags gives the smallest positive slope, so that the
    order of scores never turns round.

    Source: Platt (1999); targets (n+ + 1) / (n+ + 2) and 1 / (n- + 2).
    """
    positives, negatives = int(present.sum()), int((~present).sum())
    if positives == 0 or negatives == 0:
        return None
    targets = np.where(present, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    center = float(raw.mean())
    design = np.stack([raw - center, np.ones_like(raw)], axis=1)
    weights = np.array([0.0, np.log(positives / negatives)])
    ridge = np.diag([RIDGE, 0.0])
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        gradient = design.T @ (chance - targets) + ridge @ weights
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        weights = weights - step * min(1.0, 5.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-9:  # noqa: PLR2004 - converged
            break
    slope = max(float(weights[0]), 1e-3)
    return ScoreCalibration(slope, float(weights[1]) - slope * center)


def class_min_score(present: DoubleArray, absent: DoubleArray) -> float:
    """Return the raw score below which segments of a class are left out.

    It errs equally often on both kinds of video: as large a share of those without the class
    keeps a false segment as of those with it loses its best one. Where the two kinds lie apart it
    is the middle of the gap. It never costs more than a quarter of the videos with the class.

    Args:
        present: float64, best raw scores of the videos with the class's tag.
        absent: float64, the same of those without it.
    """
    if len(absent) == 0:
        return LOWEST_RAW_SCORE
    if len(present) == 0:
        return float(absent.max())
    scores = np.unique(np.concatenate([present, absent]))
    cuts = (scores[1:] + scores[:-1]) / 2 if len(scores) > 1 else scores
    false_share = (absent[None] >= cuts[:, None]).mean(axis=1)
    lost_share = (present[None] < cuts[:, None]).mean(axis=1)
    worse = np.maximum(false_share, lost_share)
    best = cuts[worse == worse.min()]
    return min(float(best.mean()), float(np.quantile(present, LOST_SHARE)))
