"""Measures a second head on a video whose features are stored: what its user waits for.

    python -m bench.second_head [--json P] [--seconds S] [--repeats N]

The features are random, of the published width, and are put into the store directly: extracting
them is not what is measured. The video is a real file of the given length at 340x256. The time of
a run holds everything a user waits for in a process that is up: loading the model with its
backbones (``loading_seconds``), then hashing the file, starting the decode child, reading the
packets, loading the features, the head, proposals and frame numbers (``seconds``). A warm run
finds files in memory; before a cold one their pages are dropped.
"""

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import safetensors.torch

from bench.long_video import require_length, write_long_video
from bench.memory import PICTURES
from bench.report import BenchReport
from bench.untaught import untaught_model
from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.config import settings_to_json
from models.decode import probe
from models.feature_store import ChunkFeatures, LocalFeatureStore
from models.features import ExtractorSettings
from models.heads.registry import head_entry
from models.modelcard import save_model
from models.pipeline import load_localizer, localize_video, model_folders
from models.recipe import FeatureRecipe
from models.types import VideoFacts

DEFAULT_SECONDS = 600.0
DEFAULT_REPEATS = 5
GOAL_SECONDS = 1.0
SETTINGS = ExtractorSettings(device="cpu")
BYTES_PER_MEGABYTE = 1_000_000


def install_models(home: Path) -> FeatureRecipe:
    """Install two heads on one published-size recipe; return the recipe."""
    weights = []
    for stream, state in random_weights(published_recipe()).items():
        content = safetensors.torch.save(dict(state))
        weights.append((stream, hashlib.sha256(content).hexdigest()))
        path = home / "models" / "backbones" / f"{stream}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    recipe = published_recipe(tuple(weights))
    for seed in (0, 1):
        model = untaught_model(recipe, seed)
        settings = settings_to_json(head_entry(model.card.method).settings())
        card = replace(model.card, head_settings=settings)
        save_model(home / "models" / card.identity, card, model)
    return recipe


def fill_store(
    store: LocalFeatureStore,
    facts: VideoFacts,
    recipe: FeatureRecipe,
    computed_with: dict[str, str],
) -> None:
    """Store random features for the whole video."""
    rng = np.random.default_rng(0)
    left, chunk = recipe.grid(facts.duration_seconds).num_snippets, 0
    while left > 0:
        rows = min(left, recipe.chunk_snippets)
        values = rng.standard_normal((rows, recipe.feature_width), np.float32)
        features = ChunkFeatures(values, dict(computed_with))
        store.store_chunk(facts.sha256, recipe.digest, chunk, features)
        left, chunk = left - rows, chunk + 1


def drop_pages(folder: Path) -> None:
    """Ask the kernel to forget the contents of all files below a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def run_once(home: Path, path: Path, model: str) -> tuple[float, float]:
    """Localize with a model; return the seconds of loading it and of everything after."""
    started = time.perf_counter()
    localizer = load_localizer(model, model_folders(home), SETTINGS)
    loaded = time.perf_counter()
    localize_video(localizer, path, store=LocalFeatureStore(home / "features"))
    return loaded - started, time.perf_counter() - loaded


def measure(folder: Path, seconds: float, repeats: int) -> dict[str, float]:
    """Prepare video, models and features in a folder; return the figures."""
    path, home = folder / "video.mp4", folder / "home"
    write_long_video(path, seconds, *PICTURES["published"])
    require_length(path, seconds)
    recipe = install_models(home)
    first = load_localizer("untaught@0", model_folders(home), SETTINGS)
    fill_store(LocalFeatureStore(home / "features"), probe(path), recipe, first.computed_with)
    run_once(home, path, "untaught@0")  # the first head
    figures: dict[str, float] = {
        "video_seconds": seconds,
        "video_megabytes": path.stat().st_size / BYTES_PER_MEGABYTE,
        "goal_seconds": GOAL_SECONDS,
    }
    for kind in ("warm", "cold"):
        runs = []
        for _ in range(repeats):
            if kind == "cold":
                drop_pages(folder)
            runs.append(run_once(home, path, "untaught@1"))
        figures[f"{kind}_seconds"] = statistics.median(one for _, one in runs)
        figures[f"{kind}_loading_seconds"] = statistics.median(one for one, _ in runs)
        figures[f"{kind}_total_seconds"] = statistics.median(sum(one) for one in runs)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.second_head",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="of video")
    parser.add_argument("--repeats", type=int, default=DEFAULT_REPEATS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kinetag-bench-") as scratch:
        figures = measure(Path(scratch), options.seconds, options.repeats)
    source = "drawn clips repeated to length; random features of the published width, stored"
    BenchReport("second_head", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
