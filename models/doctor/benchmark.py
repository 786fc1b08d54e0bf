"""The short benchmark: flow, backbone and decoding, each by the code that a real run uses.

Weights are random: what is measured is time, not meaning. Every stage measures a trial first and
then as much as its share of the time allows, so that a slow machine waits little longer.
"""

import itertools
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.backbones.registry import random_weights
from models.catalog import published_recipe
from models.decode import VideoSource
from models.doctor.estimate import measured_recipes
from models.doctor.processes import STEP_KEY
from models.features import (
    GPU_BLOCK_FRAMES,
    ExtractorSettings,
    FeatureExtractor,
)
from models.flow.frames import Region
from models.flow.tvl1 import FlowEngine, build_flow_engine
from models.recipe import FeatureRecipe
from models.synthetic import VideoSpec, draw_frames, encode_video, plan_video
from models.types import ByteArray, MediaWarning, VideoFacts

Facts = dict[str, Any]
# The beginning of the scene that bench.path draws; its flow costs as much as the scene's on the
# average, and more than most real video's.
SEED = 1
PLANNED_SECONDS = 60.0
CLIP_FRAMES = 100
WIDTH_PX, HEIGHT_PX = 340, 256
# Less work is measured as exactly in less time.
SMALL_SHARE = 0.3
TINY_WIDTH, FULL_STREAM_WIDTH = 0.125, 1024
# Frames of one call of flow in a run; a few more pairs than threads balance them.
MOST_PAIRS = 64


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds for each stage's measuring, trials not counted."""

    flow_seconds: float = 2.0
    backbone_seconds: float = 3.0
    decode_seconds: float = 1.0


class DrawnSource:
    """Frames in memory as a video of whole windows; what extraction needs of a video."""

    def __init__(self, frames: ByteArray, recipe: FeatureRecipe, num_windows: int) -> None:
        self._frames = frames
        num_frames = num_windows * recipe.window_frames
        height, width = frames.shape[1:3]
        self.facts = VideoFacts(
            name="drawn",
            sha256="0" * 64,
            duration_seconds=num_frames / recipe.fps,
            nominal_fps=recipe.fps,
            variable_frame_rate=False,
            width_px=width,
            height_px=height,
            num_source_frames=num_frames,
            codec="none",
        )

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """None ever."""
        return ()

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return the drawn frames, over and over."""
        return self._frames[np.arange(start_frame, stop_frame) % len(self._frames)]


def probe_benchmark(arguments: Mapping[str, Any]) -> Iterator[Facts]:
    """Measure every stage for the published and for the bundled recipe.

    Args:
        arguments: ``device`` of the backbones; ``num_threads`` for flow and backbones.
    """
    device, num_threads = str(arguments["device"]), int(arguments["num_threads"])
    shares = Shares()
    started = time.perf_counter()
    yield {STEP_KEY: "drawing a clip", "num_threads": num_threads, "device": device}
    drawn = _draw()
    yield {STEP_KEY: "decoding"}
    yield {"decode_frames_per_second": measure_decode(drawn, shares.decode_seconds)}
    for key, one in measured_recipes().items():
        share = SMALL_SHARE if key != "published" else 1.0
        frames = _resized(drawn, one.recipe.short_side_px)
        if one.flow_of == key:
            yield {STEP_KEY: f"flow of the recipe {key}"}
            name, pairs = measure_flow(
                one.recipe, frames, device, num_threads, share * shares.flow_seconds
            )
            yield {"flow": name, f"{key}_flow_pairs_per_second": pairs}
        if one.windows_of == key:
            yield {STEP_KEY: f"the backbone of the recipe {key}"}
            precision, windows = measure_backbone(
                one.recipe, frames, device, num_threads, share * shares.backbone_seconds
            )
            yield {
                f"{key}_precision": precision,
                f"{key}_windows_per_second_per_stream": windows,
            }
        if device != "cpu":
            yield {STEP_KEY: f"extraction by the recipe {key}"}
            rate = measure_extraction(one.recipe, frames, device, num_threads, SMALL_SHARE)
            yield {f"{key}_extracted_frames_per_second": rate}
    yield {"seconds": time.perf_counter() - started}


def measure_flow(
    recipe: FeatureRecipe, frames: ByteArray, device: str, num_threads: int, seconds: float
) -> tuple[str, float]:
    """Return the engine's name and its pairs per second of the recipe's crop."""
    flow = recipe.flow
    assert flow is not None  # noqa: S101 - narrows the type; only recipes with flow come here
    engine = _engine_of_a_run(recipe, device, num_threads)
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])
    middle = Region.center((grey.shape[1], grey.shape[2]), recipe.crop_px)

    def run(pairs: int) -> float:
        started = time.perf_counter()
        engine.compute(grey[: pairs + 1], flow, middle)
        return time.perf_counter() - started

    most = MOST_PAIRS
    if engine.name == "gpu":
        most = GPU_BLOCK_FRAMES
        grey = np.resize(grey, (most + 1, *grey.shape[1:]))  # over and over
        run(most)  # compiles its kernels
    return engine.name, _rate(run, min(num_threads, most), most, seconds)


def _engine_of_a_run(recipe: FeatureRecipe, device: str, num_threads: int) -> FlowEngine:
    """Return the engine that an extractor takes on this device, with all threads."""
    tiny = replace(recipe, width=TINY_WIDTH, stream_width=round(TINY_WIDTH * FULL_STREAM_WIDTH))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing kernel is told elsewhere
        settings = ExtractorSettings(device=device, num_threads=num_threads)
        chosen = FeatureExtractor(tiny, random_weights(tiny), settings).computed_with["flow"]
        return build_flow_engine(chosen.split()[0], num_threads, device)


def measure_backbone(
    recipe: FeatureRecipe, frames: ByteArray, device: str, num_threads: int, seconds: float
) -> tuple[str, float]:
    """Return the precision and windows per second of one stream (RGB) with random weights."""
    alone = replace(recipe, streams=("rgb",), flow=None)
    settings = ExtractorSettings(device=device, num_threads=num_threads)
    extractor = FeatureExtractor(alone, random_weights(alone), settings)
    # A turn keeps every lane busy once.
    turn = extractor.num_lanes * int(extractor.computed_with["batch_size"])

    def run(turns: int) -> float:
        source = DrawnSource(frames, alone, turns * turn)
        started = time.perf_counter()
        extractor.extract_chunk(source, 0)
        return time.perf_counter() - started

    rate = _rate(run, 1, max(1, alone.chunk_snippets // turn), seconds)
    return extractor.computed_with["precision"], turn * rate


def measure_extraction(
    recipe: FeatureRecipe, frames: ByteArray, device: str, num_threads: int, seconds: float
) -> float:
    """Return frames per second of extraction as a whole, without decoding."""
    settings = ExtractorSettings(device=device, num_threads=num_threads)
    extractor = FeatureExtractor(recipe, random_weights(recipe), settings)
    batch = int(extractor.computed_with["batch_size"])
    most = max(1, recipe.chunk_snippets // batch)

    def run(batches: int) -> float:
        source = DrawnSource(frames, recipe, batches * batch)
        started = time.perf_counter()
        extractor.extract_chunk(source, 0)
        return time.perf_counter() - started

    run(most)  # whole chunks, as in a run; the first one chooses kernels
    return batch * recipe.window_frames * _rate(run, most, most, seconds)


def measure_decode(drawn: ByteArray, seconds: float) -> float:
    """Return frames per second of one decode child, pictures handed over included."""
    with tempfile.TemporaryDirectory(prefix="kinetag-doctor-") as folder:
        path = Path(folder) / "drawn.mp4"
        encode_video(drawn, path, fps=published_recipe().fps, codec="h264")
        recipe = published_recipe()
        with VideoSource(path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                done += len(source.read(0, len(drawn)))
            return done / (time.perf_counter() - started)


def _rate(run: Callable[[int], float], trial: int, most: int, seconds: float) -> float:
    """Return items per second: a trial says how many items fit, the better of the two counts.

    The time of ``run(n)`` is a machine's at its best: what disturbs it only makes it longer.
    """
    trial_seconds = max(run(trial), 1e-6)
    best = trial / trial_seconds
    fitting = max(trial, min(most, math.floor(seconds * best)))
    if fitting == trial and trial_seconds > seconds:
        return best
    deadline = time.perf_counter() + seconds
    for _ in itertools.count():
        best = max(best, fitting / max(run(fitting), 1e-6))
        if time.perf_counter() + fitting / best > deadline:
            return best
    raise AssertionError


def _draw() -> ByteArray:
    """Draw uint8[CLIP_FRAMES, H, W, 3]."""
    spec = VideoSpec(
        seed=SEED,
        duration_seconds=PLANNED_SECONDS,
        fps=published_recipe().fps,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
    )
    frames = itertools.islice(draw_frames(plan_video(spec)), CLIP_FRAMES)
    return np.stack(list(frames))


def _resized(frames: ByteArray, short_side_px: int) -> ByteArray:
    height, width = frames.shape[1:3]
    scale = short_side_px / min(height, width)
    if scale == 1:
        return frames
    size = (round(width * scale), round(height * scale))
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in frames])
