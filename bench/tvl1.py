"""Measures TV-L1: the native kernel beside OpenCV, speed and difference, on the same frames.

Every run of frames is given to both implementations right after each other, both on two threads:
OpenCV's threads share the rows of one pair, the kernel's threads take a pair each. The figure
`ratio_median` is the median over runs of OpenCV's seconds by the kernel's seconds, both for whole
frames. `epe_mean_px`, `epe_p99_px`, `share_over_one_level` and `energy_ratio` speak of the crop
that the networks see, computed by the kernel as a region and by OpenCV as a part of whole frames;
`whole_frame` holds the same of whole frames, `region` what a region saves at two frame widths.

    python -m bench.tvl1 [--data DIR] [--json PATH]
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from bench.report import BenchReport, Figure
from models.flow.frames import Region
from models.flow.native import NativeFlowEngine
from models.flow.opencv import OpenCvFlowEngine
from models.flow.tvl1 import FlowEngine, quantize_flow
from models.recipe import FlowRecipe
from models.types import ByteArray, DoubleArray, FloatArray

WIDTH_PX, HEIGHT_PX = 341, 256
SMALL_WIDTH_PX, SMALL_HEIGHT_PX = 170, 128
NUM_THREADS = 2
NUM_RUNS = 12
RUN_FRAMES = 3
FIRST_FRAME = 30
MOVING_PX = 1.0
CROP_PX = 224
# Widths at which the gain of a region is measured: 4:3 and 16:9 of the usual height.
REGION_WIDTHS_PX = (340, 455)
REGION_TURNS = 3
SUFFIXES = (".avi", ".mkv", ".mov", ".mp4", ".webm")
# Below this mean change of grey levels the two frames are one frame shown twice.
SMALLEST_CHANGE = 0.2


def _texture(rng: np.random.Generator) -> FloatArray:
    layers = []
    for coarseness in (4, 12, 40):
        shape = (3 * HEIGHT_PX // coarseness, 3 * WIDTH_PX // coarseness)
        noise = rng.uniform(0, 255, shape).astype(np.float32)
        layers.append(cv2.resize(noise, (3 * WIDTH_PX, 3 * HEIGHT_PX)))
    texture: FloatArray = np.mean(layers, axis=0, dtype=np.float32)
    return texture


def generate_runs() -> list[ByteArray]:
    """Draw textures that shift and zoom, from fixed seeds; uint8[RUN_FRAMES, H, W] each."""
    runs = []
    for seed in range(NUM_RUNS):
        rng = np.random.default_rng(seed)
        texture = _texture(rng)
        shift = rng.uniform(-4, 4, 2)
        zoom = rng.uniform(0.99, 1.01)
        frames = []
        for index in range(RUN_FRAMES):
            scale = zoom**index
            matrix = np.array(
                [
                    [scale, 0, -WIDTH_PX + shift[0] * index],
                    [0, scale, -HEIGHT_PX + shift[1] * index],
                ]
            )
            drawn = cv2.warpAffine(texture, matrix, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_CUBIC)
            noisy = drawn + rng.normal(0, 2, drawn.shape)
            frames.append(np.clip(noisy, 0, 255).astype(np.uint8))
        runs.append(np.stack(frames))
    return runs


def _decode_run(path: Path) -> ByteArray | None:
    frames: list[ByteArray] = []
    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index < FIRST_FRAME:
                    continue
                small = frame.reformat(WIDTH_PX, HEIGHT_PX, "rgb24", interpolation="BILINEAR")
                grey = cv2.cvtColor(small.to_ndarray(), cv2.COLOR_RGB2GRAY)
                frames.append(grey.astype(np.uint8))
                if len(frames) == RUN_FRAMES:
                    break
    except (av.FFmpegError, IndexError, OSError):
        return None
    if len(frames) < RUN_FRAMES:
        return None
    run = np.stack(frames)
    changes = np.abs(np.diff(run.astype(np.int16), axis=0)).mean(axis=(1, 2))
    return run if changes.min() > SMALLEST_CHANGE else None


def _readable_runs(folder: Path) -> Iterator[tuple[Path, ByteArray]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            run = _decode_run(path)
            if run is not None:
                yield path, run


def _mean_motion_px(flow: FloatArray) -> float:
    return float(np.hypot(flow[..., 0], flow[..., 1]).mean())


def load_runs(folder: Path, recipe: FlowRecipe) -> list[ByteArray]:
    """Decode one run per clip until NUM_RUNS are found, at most half of them nearly still.

    Raises:
        SystemExit: the folder holds too few usable clips.
    """
    engine = NativeFlowEngine(NUM_THREADS)
    moving: list[ByteArray] = []
    still: list[ByteArray] = []
    seen: set[bytes] = set()
    for _, run in _readable_runs(folder):
        key = run[0].tobytes()
        if key in seen:
            continue
        seen.add(key)
        slowest = min(_mean_motion_px(flow) for flow in np.asarray(engine.compute(run, recipe)))
        kind = moving if slowest >= MOVING_PX else still
        if len(kind) < NUM_RUNS // 2:
            kind.append(run)
        if len(moving) + len(still) == NUM_RUNS:
            break
    if len(moving) < len(still) or not moving:
        raise SystemExit(f"{folder} holds too few clips that move by {MOVING_PX} px or more.")
    return moving + still


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run through both implementations: frames, seconds, flows of whole frames and the crop."""

    frames: ByteArray
    seconds_opencv: float
    seconds_native: float
    opencv: FloatArray
    native: FloatArray
    native_crop: FloatArray


def _timed(
    engine: FlowEngine, frames: ByteArray, recipe: FlowRecipe, region: Region | None = None
) -> tuple[float, FloatArray]:
    start = time.perf_counter()
    flow = engine.compute(frames, recipe, region)
    return time.perf_counter() - start, flow


def compare(run: ByteArray, recipe: FlowRecipe) -> Comparison:
    """Compute one run natively, by OpenCV, and natively again; the native time is the mean."""
    native = NativeFlowEngine(NUM_THREADS)
    opencv = OpenCvFlowEngine(NUM_THREADS)
    before, flow_native = _timed(native, run, recipe)
    seconds_opencv, flow_opencv = _timed(opencv, run, recipe)
    after, _ = _timed(native, run, recipe)
    crop = native.compute(run, recipe, Region.center(run.shape[1:], CROP_PX))
    seconds = (before + after) / 2
    return Comparison(run, seconds_opencv, seconds, flow_opencv, flow_native, crop)


def tvl1_energy(first: ByteArray, second: ByteArray, flow: FloatArray, region: Region) -> float:
    """Return the energy that TV-L1 flow minimises, of one region of one pair.

    Args:
        first: uint8[H, W], the frame the flow starts from.
        second: uint8[H, W], the frame it points into.
        flow: float32[h, w, 2] of the region.
        region: which part of the frames the flow is of.

    Returns:
        lambda_ * sum |I1(x + u) - I0(x)| + sum |grad u1| + sum |grad u2|, with grey levels as they
        are, bicubic interpolation that repeats the frame's edge, and forward differences.

    Source: Zach, Pock, Bischof, DAGM 2007, equation 2, with the gradient's length per component as
    in Sanchez, Meinhardt-Llopis, Facciolo, IPOL 2013.
    """
    rows, columns = np.mgrid[
        region.top : region.top + region.height, region.left : region.left + region.width
    ].astype(np.float32)
    warped = cv2.remap(
        second.astype(np.float32),
        columns + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    seen = region.cut(np.repeat(first[None, ..., None], 2, axis=-1))[0, ..., 0]
    data = float(np.abs(warped - seen).sum(dtype=np.float64))
    across = np.diff(flow, axis=1, append=flow[:, -1:])
    down = np.diff(flow, axis=0, append=flow[-1:])
    return FlowRecipe().lambda_ * data + float(np.hypot(across, down).sum(dtype=np.float64))


def _one_thread_seconds(
    engine: FlowEngine, runs: list[ByteArray], size_px: tuple[int, int], recipe: FlowRecipe
) -> float:
    seconds = []
    for run in runs:
        frames = np.stack([cv2.resize(f, size_px, interpolation=cv2.INTER_AREA) for f in run[:2]])
        seconds.append(_timed(engine, frames.astype(np.uint8), recipe)[0] / (len(frames) - 1))
    return float(np.mean(seconds))


def _energy_ratio(one: Comparison, native: FloatArray, region: Region) -> list[float]:
    ratios = []
    reference = region.cut(one.opencv)
    for pair in range(len(native)):
        frames = one.frames[pair], one.frames[pair + 1]
        of_native = tvl1_energy(*frames, native[pair], region)
        ratios.append(of_native / tvl1_energy(*frames, reference[pair], region))
    return ratios


def _difference_figures(
    comparisons: list[Comparison], natives: list[FloatArray], region: Region, clip_px: float
) -> dict[str, Figure]:
    errors = []
    levels_apart = []
    energies = []
    for one, native in zip(comparisons, natives, strict=True):
        opencv = region.cut(one.opencv)
        errors.append(np.hypot(*np.moveaxis(native - opencv, -1, 0)))
        levels_native = quantize_flow(native, clip_px).astype(np.int16)
        levels_opencv = quantize_flow(opencv, clip_px).astype(np.int16)
        levels_apart.append(np.abs(levels_native - levels_opencv).max(axis=-1))
        energies += _energy_ratio(one, native, region)
    pooled: DoubleArray = np.stack(errors).astype(np.float64)
    return {
        "epe_mean_px": float(pooled.mean()),
        "epe_p99_px": float(np.percentile(pooled, 99)),
        "epe_mean_worst_pair_px": float(pooled.mean(axis=(2, 3)).max()),
        "share_over_one_level": float((np.stack(levels_apart) > 1).mean()),
        "energy_ratio": float(np.mean(energies)),
        "energy_ratio_worst_pair": float(np.max(energies)),
    }


def _region_figures(runs: list[ByteArray], recipe: FlowRecipe) -> dict[str, Figure]:
    """Time the crop as a region beside whole frames, and beside OpenCV's crop, at each width."""
    native = NativeFlowEngine(1)
    opencv = OpenCvFlowEngine(NUM_THREADS)
    figures: dict[str, Figure] = {}
    for width in REGION_WIDTHS_PX:
        region = Region.center((HEIGHT_PX, width), CROP_PX)
        whole_seconds, region_seconds, errors, apart = [], [], [], []
        for run in runs:
            frames = np.stack([cv2.resize(frame, (width, HEIGHT_PX)) for frame in run[:2]])
            pair = frames.astype(np.uint8)
            turns = [
                (_timed(native, pair, recipe), _timed(native, pair, recipe, region))
                for _ in range(REGION_TURNS)
            ]
            whole_seconds.append(min(whole[0] for whole, _ in turns))
            region_seconds.append(min(cut[0] for _, cut in turns))
            cut = turns[0][1][1]
            reference = opencv.compute(pair, recipe, region)
            errors.append(float(np.hypot(*np.moveaxis(cut - reference, -1, 0)).mean()))
            levels = [quantize_flow(flow, recipe.clip_px).astype(int) for flow in (cut, reference)]
            apart.append(float((np.abs(levels[0] - levels[1]).max(axis=-1) > 1).mean()))
        figures[f"{width}x{HEIGHT_PX}"] = {
            "whole_one_thread_seconds_per_pair": float(np.mean(whole_seconds)),
            "region_one_thread_seconds_per_pair": float(np.mean(region_seconds)),
            "gain": float(np.sum(whole_seconds) / np.sum(region_seconds)),
            "epe_mean_px": float(np.mean(errors)),
            "share_over_one_level": float(np.mean(apart)),
        }
    return figures


def measure(runs: list[ByteArray], recipe: FlowRecipe) -> dict[str, Figure]:
    """Return every figure of this bench for these runs."""
    pairs = RUN_FRAMES - 1
    comparisons = [compare(run, recipe) for run in runs]
    ratios = [one.seconds_opencv / one.seconds_native for one in comparisons]
    motion = [_mean_motion_px(flow) for one in comparisons for flow in np.asarray(one.opencv)]
    one_thread = NativeFlowEngine(1)
    full_size = (WIDTH_PX, HEIGHT_PX)
    small_size = (SMALL_WIDTH_PX, SMALL_HEIGHT_PX)
    crop = Region.center((HEIGHT_PX, WIDTH_PX), CROP_PX)
    whole = Region(0, 0, HEIGHT_PX, WIDTH_PX)
    crops = [one.native_crop for one in comparisons]
    wholes = [one.native for one in comparisons]
    return {
        "num_pairs": len(runs) * pairs,
        "num_pairs_moving": int(np.sum(np.asarray(motion) >= MOVING_PX)),
        "ratio_median": float(np.median(ratios)),
        "ratio_min": float(np.min(ratios)),
        "ratio_max": float(np.max(ratios)),
        **_difference_figures(comparisons, crops, crop, recipe.clip_px),
        "whole_frame": _difference_figures(comparisons, wholes, whole, recipe.clip_px),
        "region": _region_figures(runs, recipe),
        "threads_native": NUM_THREADS,
        "threads_opencv": NUM_THREADS,
        "native_seconds_per_pair": float(np.mean([c.seconds_native for c in comparisons])) / pairs,
        "opencv_seconds_per_pair": float(np.mean([c.seconds_opencv for c in comparisons])) / pairs,
        "native_one_thread_seconds_per_pair": _one_thread_seconds(
            one_thread, runs, full_size, recipe
        ),
        "native_one_thread_seconds_per_pair_170x128": _one_thread_seconds(
            one_thread, runs, small_size, recipe
        ),
        "opencv_one_thread_seconds_per_pair": _one_thread_seconds(
            OpenCvFlowEngine(1), runs[::3], full_size, recipe
        ),
        "native_version": one_thread.version,
        "opencv_version": str(cv2.__version__),
    }


def main() -> None:
    """Run the bench from the command line."""
    parser = argparse.ArgumentParser(prog="bench.tvl1", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with clips; default: generated frames")
    parser.add_argument("--json", type=Path, help="where to write the report")
    arguments = parser.parse_args()
    recipe = FlowRecipe()
    size = f"{WIDTH_PX}x{HEIGHT_PX}"
    if arguments.data is None:
        runs = generate_runs()
        source = f"{len(runs)} generated runs of {RUN_FRAMES} frames, {size}"
    else:
        runs = load_runs(arguments.data, recipe)
        source = f"{len(runs)} real runs of {RUN_FRAMES} frames, {size}, one per clip"
    BenchReport("tvl1", source, measure(runs, recipe)).publish(arguments.json)


if __name__ == "__main__":
    main()
