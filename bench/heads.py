"""What heads cost: forward passes, post-processing, training.

    python -m bench.heads [--json FILE] [--no-training]

* ``METHOD.forward_750_ms``: one pass over 750 snippets of 2 x 1024 features, 20 classes, preset
  ``thumos14`` (published widths) and ``small``; median of repeats.
* ``METHOD.post_ms``: all post-processing of a 10-minute video with 20 classes, from activations
  to segments, with the head's ``small`` preset; every class passes its threshold, so this is an
  upper bound. The activations are those of a trained head on planted features.
* ``METHOD.train_seconds``: ``small`` on 100 videos of 300 snippets, published feature width.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.report import BenchReport, Figure
from models.heads.base import HeadSpec
from models.heads.registry import PRESETS, build_head
from models.localize.segments import localize_activations
from models.prediction import predict
from models.recipe import FeatureRecipe
from models.synthetic.planted import PlantedSettings, PlantedWorld
from models.training.tags import TaggedDataset
from models.training.train import train_head
from models.types import FeatureSet

NUM_CLASSES, FORWARD_SNIPPETS, REPEATS = 20, 750, 7
POST_SECONDS = 600.0
TRAINING_VIDEOS, TRAINING_SNIPPETS = 100, 300
POST_SETTINGS = PlantedSettings(num_classes=NUM_CLASSES, min_snippets=300, max_snippets=300)
PUBLISHED_WIDTH = 1024


def median_ms(action: Callable[[], object]) -> float:
    """Return the median wall time of repeats after one that does not count, in milliseconds."""
    action()
    times = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        action()
        times.append(time.perf_counter() - before)
    return round(1000 * float(np.median(times)), 2)


def forward_ms(method: str, preset: str) -> float:
    """Time one pass over 750 snippets."""
    classes = tuple(f"c{index}" for index in range(NUM_CLASSES))
    spec = HeadSpec(classes, ("rgb", "flow"), PUBLISHED_WIDTH)
    head = build_head(method, spec, PRESETS[method][preset].head).eval()
    features = torch.randn(FORWARD_SNIPPETS, spec.feature_width).relu()
    return median_ms(lambda: head.activations(features))


def dataset(settings: PlantedSettings, count: int) -> TaggedDataset:
    """Return planted videos with their tags."""
    videos = PlantedWorld(settings, 0).videos(count)
    return TaggedDataset(
        ids=tuple(f"v{index}" for index in range(count)),
        features=[one.features for one in videos],
        labels=np.stack([one.labels for one in videos]),
        classes=tuple(f"c{index}" for index in range(settings.num_classes)),
        recipe=FeatureRecipe(name="planted", stream_width=settings.stream_width),
    )


def post_ms(method: str) -> tuple[float, int]:
    """Time the post-processing of ten minutes; return it and the number of segments."""
    data = dataset(POST_SETTINGS, TRAINING_VIDEOS)
    preset = PRESETS[method]["small"]
    stages = tuple(replace(one, steps=min(one.steps, 100)) for one in preset.stages)
    trained = train_head(data, method, replace(preset, stages=stages), 0)
    grid = data.recipe.grid(POST_SECONDS)
    values = np.concatenate(data.features[:4])[: grid.num_snippets]
    features = FeatureSet(values, grid.snippet_seconds(), data.recipe.digest, POST_SECONDS)
    activations = predict(trained, features)
    everywhere = replace(preset.proposals, class_threshold=0.0)
    found = localize_activations(activations, grid, everywhere)
    return median_ms(lambda: localize_activations(activations, grid, everywhere)), len(found)


def train_seconds(method: str) -> float:
    """Time training on 100 videos of 300 snippets, as wide as published features."""
    settings = PlantedSettings(
        stream_width=PUBLISHED_WIDTH,
        min_snippets=TRAINING_SNIPPETS,
        max_snippets=TRAINING_SNIPPETS,
    )
    data = dataset(settings, TRAINING_VIDEOS)
    before = time.perf_counter()
    train_head(data, method, PRESETS[method]["small"], 0)
    return round(time.perf_counter() - before, 1)


def main() -> None:
    """Measure every trainable head."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", action="append", choices=sorted(PRESETS))
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()
    figures: dict[str, Figure] = {}
    for method in options.method or sorted(PRESETS):
        figures[f"{method}.forward_750_ms.thumos14"] = forward_ms(method, "thumos14")
        figures[f"{method}.forward_750_ms.small"] = forward_ms(method, "small")
        figures[f"{method}.post_ms"], figures[f"{method}.post_segments"] = post_ms(method)
        if not options.no_training:
            figures[f"{method}.train_seconds"] = train_seconds(method)
    BenchReport("heads", "random and planted features, 20 classes", figures).publish(options.json)


if __name__ == "__main__":
    main()
