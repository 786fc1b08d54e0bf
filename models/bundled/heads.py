"""Stages 4 and 5 of the demonstration model: heads from tags, and what they are worth.

Training sees features and whole-video tags; evaluation sees the drawn truth. No setting and no
checkpoint is chosen here by a test score.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.bundled.baseline import motion_activations
from models.bundled.recipe import MIN_RAW_SCORE
from models.bundled.videos import DrawnVideo, Split
from models.config import Preset, ProposalSettings
from models.evaluation.activitynet import (
    Detection,
    EvaluationResult,
    GroundTruth,
    mean_average_precision,
)
from models.evaluation.detections import detections_of
from models.heads.registry import PRESETS
from models.prediction import RunnableHead, predict
from models.recipe import FeatureRecipe
from models.synthetic import ACTIONS
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead, train_head
from models.types import Activations, DoubleArray

TIOUS = (0.3, 0.5, 0.7)
SECONDS_PER_HOUR = 3600.0


def bundled_preset() -> Preset:
    """Return the preset of the shipped head: ``small``, without proposals that hardly stand out."""
    small = PRESETS["aicl"]["small"]
    return replace(small, proposals=replace(small.proposals, min_raw_score=MIN_RAW_SCORE))


def tagged(split: Split, recipe: FeatureRecipe) -> TaggedDataset:
    """Return features and whole-video tags; timestamps stay behind."""
    labels = np.array(
        [[action in video.labels for action in ACTIONS] for video in split.videos], dtype=np.bool_
    )
    return TaggedDataset(
        ids=tuple(video.name for video in split.videos),
        features=[one.values for one in split.features],
        labels=labels,
        classes=ACTIONS,
        recipe=recipe,
    )


def train_seed(split: Split, recipe: FeatureRecipe, seed: int) -> TrainedHead:
    """Train one head."""
    return train_head(tagged(split, recipe), "aicl", bundled_preset(), seed)


def train_shuffled(split: Split, recipe: FeatureRecipe, seed: int) -> TrainedHead:
    """Train one head whose videos carry each other's tags: it must end near nothing."""
    dataset = tagged(split, recipe)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(dataset.ids))
    return train_head(
        replace(dataset, labels=dataset.labels[order]), "aicl", bundled_preset(), seed
    )


def ground_truth(videos: Sequence[DrawnVideo]) -> list[GroundTruth]:
    """Return the drawn truth of a split."""
    return [
        GroundTruth(video.name, label, start, end)
        for video in videos
        for label, start, end in video.instances
    ]


def detect(
    activations: Activations, video: DrawnVideo, recipe: FeatureRecipe, settings: ProposalSettings
) -> list[Detection]:
    """Return one video's detections."""
    return detections_of(video.name, activations, recipe.grid(video.duration_seconds), settings)


def detect_all(head: RunnableHead, split: Split, settings: ProposalSettings) -> list[Detection]:
    """Return a head's detections on a split."""
    return [
        detection
        for video, features in zip(split.videos, split.features, strict=True)
        for detection in detect(predict(head, features), video, head.recipe, settings)
    ]


def evaluate_head(head: RunnableHead, split: Split, settings: ProposalSettings) -> EvaluationResult:
    """Return mAP of a head on a split."""
    found = detect_all(head, split, settings)
    return mean_average_precision(found, ground_truth(split.videos), TIOUS)


def evaluate_motion(
    energies: Sequence[DoubleArray],
    videos: Sequence[DrawnVideo],
    recipe: FeatureRecipe,
    settings: ProposalSettings,
) -> EvaluationResult:
    """Return mAP of motion energy with the true tags, the better of its columns at tIoU 0.5."""
    results = []
    for column in range(energies[0].shape[1]):
        found = [
            detection
            for video, energy in zip(videos, energies, strict=True)
            for detection in detect(
                motion_activations(energy[:, column], video.labels, ACTIONS),
                video,
                recipe,
                settings,
            )
        ]
        results.append(mean_average_precision(found, ground_truth(videos), TIOUS))
    return max(results, key=lambda one: float(one.map_per_tiou[TIOUS.index(0.5)]))


def false_segments_per_hour(head: RunnableHead, quiet: Split, settings: ProposalSettings) -> float:
    """Return how many segments a head claims per hour of video in which nothing happens."""
    count = len(detect_all(head, quiet, settings))
    hours = sum(video.duration_seconds for video in quiet.videos) / SECONDS_PER_HOUR
    return count / hours


def figures(result: EvaluationResult) -> dict[str, Any]:
    """Return an evaluation as plain numbers, rounded for a card."""
    middle = result.tiou_thresholds.index(0.5)
    return {
        "map": {
            f"{tiou:.1f}": round(float(value), 4)
            for tiou, value in zip(result.tiou_thresholds, result.map_per_tiou, strict=True)
        },
        "ap_at_0.5": {
            label: round(float(row[middle]), 4)
            for label, row in zip(result.classes, result.average_precision, strict=True)
        },
        "instances": int(result.num_ground_truth.sum()),
        "videos": result.num_videos,
    }
