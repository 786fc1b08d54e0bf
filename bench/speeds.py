"""Measures what the speeds save and how far the flow of `fast` is from the published solver's.

    python -m bench.speeds [--data DIR] [--precision P] [--json PATH]

Every setting solves the same frame pairs right after each other on one thread, in CPU time, so
that other work on the machine changes little; ratios are of one run. With a folder of recordings
the pairs are those of bench.tvl1, at least half of them moving; without one they are drawn. The
whole cost of each speed, without decoding, is taken on drawn frames of the published size with
random weights.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import BenchReport, Figure
from bench.tvl1 import generate_runs, load_runs
from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.features import ExtractorSettings, FeatureExtractor
from models.flow.frames import Region
from models.flow.tvl1 import FlowEngine, build_flow_engine, quantize_flow
from models.recipe import FlowRecipe
from models.speeds import SPEEDS, fast_flow, recipe_at
from models.synthetic import VideoSpec, draw_frames, plan_video
from models.types import ByteArray, DoubleArray, MediaWarning, VideoFacts

# What else was tried, from dear to cheap: changes to the published solver.
PUBLISHED, CHOSEN = "published", "fast"
OTHERS: dict[str, dict[str, Any]] = {
    "3 warps": {"num_warps": 3},
    "3 warps, 1 x 30 iterations": {
        "num_warps": 3,
        "outer_iterations": 1,
        "inner_iterations": 30,
    },
    "3 warps, 1 x 12 iterations": {
        "num_warps": 3,
        "outer_iterations": 1,
        "inner_iterations": 12,
    },
    "3 warps, 1 x 12 iterations, no median": {
        "num_warps": 3,
        "outer_iterations": 1,
        "inner_iterations": 12,
        "median_filtering": 1,
    },
    "fast with median": {"median_filtering": 5},
    "fast with 30 iterations": {"inner_iterations": 30},
    "fast with 1 warp of 30 iterations": {"num_warps": 1, "inner_iterations": 30},
}
REPEATS = 3
DRAWN_FRAMES = 64
WIDTH_PX, HEIGHT_PX = 340, 256
SHORTEST_DRAWN_SECONDS = 30.0  # room for three kinds of actions
SEED = 1


def settings() -> dict[str, FlowRecipe]:
    """Return every measured solver by name, the published one first."""
    published = FlowRecipe()
    found = {PUBLISHED: published, CHOSEN: fast_flow(published)}
    for name, changes in OTHERS.items():
        base = found[CHOSEN] if name.startswith(CHOSEN) else published
        found[name] = replace(base, **changes)
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of this process during one call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def flow_figures(runs: list[ByteArray], engine: FlowEngine) -> dict[str, Figure]:
    """Return error and cost of every setting, seen through the network's crop."""
    recipe = published_recipe()
    clip_px = FlowRecipe().clip_px
    errors: dict[str, list[tuple[float, float]]] = {name: [] for name in settings()}
    seconds: dict[str, list[float]] = {name: [] for name in settings()}
    for run in runs:
        region = Region.center((run.shape[1], run.shape[2]), recipe.crop_px)
        reference = engine.compute(run, FlowRecipe(), region)
        levels = quantize_flow(reference, clip_px).astype(np.int16)
        for name, solver in settings().items():
            flow = engine.compute(run, solver, region)
            apart = np.hypot(*np.moveaxis(flow - reference, -1, 0))
            off = np.abs(quantize_flow(flow, clip_px) - levels).max(axis=-1) > 1
            errors[name].append((float(apart.mean()), float(off.mean())))
            solve = partial(engine.compute, run, solver, region)
            times = [cpu_seconds(solve) for _ in range(REPEATS)]
            seconds[name].append(min(times) / (len(run) - 1))
    published = np.array(seconds[PUBLISHED])
    return {
        name: _row(np.array(errors[name]), np.array(seconds[name]), published) for name in errors
    }


def _row(errors: DoubleArray, seconds: DoubleArray, published: DoubleArray) -> dict[str, float]:
    return {
        "epe_mean_px": round(float(errors[:, 0].mean()), 4),
        "epe_median_clip_px": round(float(np.median(errors[:, 0])), 4),
        "share_over_one_level": round(float(errors[:, 1].mean()), 4),
        "cpu_ms_per_pair": round(1000 * float(seconds.mean()), 2),
        "times_faster": round(float(published.mean() / seconds.mean()), 2),
    }


class _Held:
    """Frames in memory, as an extractor reads them."""

    warnings: tuple[MediaWarning, ...] = ()

    def __init__(self, frames: ByteArray) -> None:
        self._frames = frames
        fps = published_recipe().fps
        num_frames, height, width = frames.shape[:3]
        duration = num_frames / fps
        self.facts = VideoFacts(
            "drawn", "0" * 64, duration, fps, False, width, height, num_frames, "none"
        )

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return frames uint8[F, H, W, 3]."""
        return self._frames[start_frame:stop_frame]


def drawn_frames() -> ByteArray:
    """Draw the frames of a few windows, uint8[F, H, W, 3]."""
    spec = VideoSpec(
        seed=SEED, duration_seconds=SHORTEST_DRAWN_SECONDS, width_px=WIDTH_PX, height_px=HEIGHT_PX
    )
    frames = draw_frames(plan_video(spec))
    return np.stack([frame for frame, _ in zip(frames, range(DRAWN_FRAMES), strict=False)])


def whole_figures(precision: str) -> dict[str, Figure]:
    """Return CPU seconds per second of video of each speed at the published size."""
    source = _Held(drawn_frames())
    duration = source.facts.duration_seconds
    costs: dict[str, Figure] = {}
    for speed in SPEEDS:
        recipe = recipe_at(published_recipe(), speed)
        how = ExtractorSettings(num_threads=1, precision=precision)
        extractor = FeatureExtractor(recipe, random_weights(recipe), how)
        extractor.extract(source)  # the first run pays for planning and caches
        extract = partial(extractor.extract, source)
        times = [cpu_seconds(extract) for _ in range(REPEATS)]
        costs[speed] = round(min(times) / duration, 3)
    return costs


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder of recordings; drawn pairs without one")
    parser.add_argument("--precision", default="auto", help="of the backbones: auto, fp32, bf16")
    parser.add_argument("--json", type=Path, help="write the report here")
    arguments = parser.parse_args()
    runs = load_runs(arguments.data, FlowRecipe()) if arguments.data else generate_runs()
    engine = build_flow_engine("auto", num_threads=1)
    BenchReport(
        bench="speeds",
        source=f"{len(runs)} {'recordings' if arguments.data else 'drawn runs'}, "
        f"{sum(len(run) - 1 for run in runs)} pairs; flow by {engine.name} {engine.version}",
        figures={
            "flow": flow_figures(runs, engine),
            "cpu_seconds_per_video_second": whole_figures(arguments.precision),
        },
    ).publish(arguments.json)


if __name__ == "__main__":
    main()
