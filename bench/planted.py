"""Heads on planted features: what each finds, what its special loss adds, what chance gives.

    python -m bench.planted [--method NAME ...] [--seeds 3] [--skip shuffled] [--skip context]

For each head, paired by seed (the same videos, initialisation seed and batches), after at most 300
steps of the ``small`` preset at width 64 and T = 128:

* ``map_0.5`` on fresh videos, and ``_shuffled``: the same with tags shuffled between videos;
* ``false_per_hour``: segments claimed in action-free videos with the thresholds that are fitted to
  the training videos' tags, and ``_raw``: without them;
* ``context_on``, ``_off``, ``_gain``: on videos where each action's own context surrounds it in
  70 % of videos, with the head's special loss and without.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from bench.report import BenchReport, Figure
from models.config import Preset
from models.evaluation.activitynet import Detection, GroundTruth, mean_average_precision
from models.evaluation.detections import detections_of
from models.heads.registry import HEADS, PRESETS
from models.localize.segments import localize_activations
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedVideo, PlantedWorld
from models.training.calibrate import calibrate
from models.training.tags import TaggedDataset
from models.training.train import TrainedHead, train_head
from models.types import FeatureSet

TRAINING_VIDEOS, TEST_VIDEOS, QUIET_VIDEOS = 60, 24, 24
MAX_STEPS, NUM_SNIPPETS, WIDTH = 300, 128, 64
CONTEXT_SHARE = 0.7
SNIPPET_SECONDS = 0.64


def recipe(settings: PlantedSettings) -> FeatureRecipe:
    """Return a recipe of the planted width."""
    return FeatureRecipe(name="planted", stream_width=settings.stream_width)


def shortened(preset: Preset, head: Mapping[str, object]) -> Preset:
    """Return a preset within the budget: width 64, T = 128, 300 steps in all its stages."""
    total = sum(stage.steps for stage in preset.stages)
    stages = tuple(
        replace(
            stage,
            steps=min(stage.steps, round(stage.steps / total * MAX_STEPS)),
            num_snippets=NUM_SNIPPETS,
        )
        for stage in preset.stages
    )
    has_width = any(field.name == "width" for field in fields(preset.head))
    narrow: dict[str, object] = {"width": WIDTH} if has_width and "width" not in head else {}
    inference = replace(
        preset.inference, window_snippets=max(NUM_SNIPPETS, preset.inference.window_snippets)
    )
    return replace(
        preset,
        head=replace(preset.head, **narrow, **head),
        stages=stages,
        inference=inference,
    )


def dataset_of(
    videos: list[PlantedVideo], settings: PlantedSettings, order: np.ndarray | None = None
) -> TaggedDataset:
    """Return features and tags; ``order`` gives videos each other's tags."""
    labels = np.stack([one.labels for one in videos])
    return TaggedDataset(
        ids=tuple(f"v{index}" for index in range(len(videos))),
        features=[one.features for one in videos],
        labels=labels if order is None else labels[order],
        classes=tuple(f"action{index}" for index in range(settings.num_classes)),
        recipe=recipe(settings),
    )


def map_at_half(trained: TrainedHead, videos: list[PlantedVideo]) -> float:
    """Return mAP at tIoU 0.5, protocol P-ANET."""
    truths: list[GroundTruth] = []
    found: list[Detection] = []
    for index, video in enumerate(videos):
        name, classes = str(index), trained.head.spec.classes
        duration = len(video.features) * SNIPPET_SECONDS
        grid = trained.recipe.grid(duration)
        features = FeatureSet(
            video.features, grid.snippet_seconds(), trained.recipe.digest, duration
        )
        truths += [
            GroundTruth(name, classes[c], a * SNIPPET_SECONDS, b * SNIPPET_SECONDS)
            for c, a, b in video.instances
        ]
        activations = predict(trained, features)
        found += detections_of(name, activations, grid, trained.settings.proposals)
    return mean_average_precision(found, truths, (0.5,)).map_at(0.5)


def false_segments(
    trained: TrainedHead,
    training: list[PlantedVideo],
    settings: PlantedSettings,
    quiet: list[PlantedVideo],
) -> dict[str, float]:
    """Return false segments per hour of action-free videos, before and after calibration."""
    raw = trained.settings.proposals
    fitted = calibrate(trained, dataset_of(training, settings))
    cut = replace(raw, class_min_scores=fitted.class_min_scores)
    rates = {}
    for name, proposals in (("false_per_hour_raw", raw), ("false_per_hour", cut)):
        count, seconds = 0, 0.0
        for video in quiet:
            duration = len(video.features) * SNIPPET_SECONDS
            grid = trained.recipe.grid(duration)
            features = FeatureSet(
                video.features, grid.snippet_seconds(), trained.recipe.digest, duration
            )
            count += len(localize_activations(predict(trained, features), grid, proposals))
            seconds += duration
        rates[name] = 3600 * count / seconds
    return rates


def main() -> None:
    """Run the comparison and print one line of figures per head."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    trainable = sorted(name for name, entry in HEADS.items() if entry.head.trainable)
    parser.add_argument("--method", action="append", choices=trainable)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--skip", action="append", default=[], choices=["shuffled", "context"])
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    figures: dict[str, Figure] = {}
    for method in options.method or trainable:
        for name, value in measure(
            method, range(options.first_seed, options.first_seed + options.seeds), options.skip
        ).items():
            figures[f"{method}.{name}"] = value
    source = f"{TRAINING_VIDEOS} planted training videos, {TEST_VIDEOS} fresh ones, P-ANET"
    BenchReport("planted", source, figures).publish(options.json)


def measure(method: str, seeds: range, skip: list[str]) -> dict[str, Figure]:
    """Return the figures of one head."""
    entry = HEADS[method]
    preset = PRESETS[method]["small"]
    full, plain = shortened(preset, {}), shortened(preset, dict(entry.plain))
    rows: dict[str, list[float]] = {}
    started = time.monotonic()
    seconds: list[float] = []
    for seed in seeds:
        settings = PlantedSettings()
        world = PlantedWorld(settings, seed)
        training, test = world.videos(TRAINING_VIDEOS), world.videos(TEST_VIDEOS)
        before = time.monotonic()
        trained = train_head(dataset_of(training, settings), method, full, seed)
        seconds.append(time.monotonic() - before)
        rows.setdefault("map_0.5", []).append(map_at_half(trained, test))
        quiet = world.action_free(QUIET_VIDEOS)
        for name, rate in false_segments(trained, training, settings, quiet).items():
            rows.setdefault(name, []).append(rate)
        if "shuffled" not in skip:
            order = np.random.default_rng(seed).permutation(len(training))
            shuffled = train_head(dataset_of(training, settings, order), method, full, seed)
            rows.setdefault("map_0.5_shuffled", []).append(map_at_half(shuffled, test))
        if "context" in skip or not entry.plain:
            continue
        settings = PlantedSettings(context_share=CONTEXT_SHARE)
        world = PlantedWorld(settings, seed)
        training, test = world.videos(TRAINING_VIDEOS), world.videos(TEST_VIDEOS)
        data = dataset_of(training, settings)
        on = map_at_half(train_head(data, method, full, seed), test)
        off = map_at_half(train_head(data, method, plain, seed), test)
        rows.setdefault("context_on", []).append(on)
        rows.setdefault("context_off", []).append(off)
        rows.setdefault("context_gain", []).append(on - off)
    figures: dict[str, Figure] = {
        name: {
            "mean": round(float(np.mean(values)), 4),
            "each": [round(value, 4) for value in values],
        }
        for name, values in rows.items()
    }
    figures["train_seconds"] = round(float(np.mean(seconds)), 1)
    figures["seconds"] = round(time.monotonic() - started, 1)
    return figures


if __name__ == "__main__":
    main()
