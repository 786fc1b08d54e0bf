"""Measures I3D at the published size: ours beside plain fp32, and beside this machine's GEMM rate.

    python -m bench.i3d [--json PATH] [--data DIR] [--threads N] [--batch B]

Plain fp32 is the same network as torch runs it without further thought: default memory layout,
batch norm on its own, all threads inside one operation. Ours is what extraction does: batch norm
folded, channels last, bf16 where the processor multiplies it, a lane per thread. The GEMM rate is
that of a square matrix product in our precision on the same threads. Rounds alternate; each figure
is the median of its rounds.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.report import BenchReport, Figure
from models.arrays import LEVEL_MAX, center_crop
from models.backbones.precision import DTYPES, choose_precision
from models.backbones.registry import build_backbone, load_backbone, random_weights
from models.catalog import published_recipe
from models.decode import VideoSource
from models.errors import InputError
from models.features import WIDE_CPU_BATCH
from models.flow.tvl1 import build_flow_engine
from models.frame_windows import flow_levels
from models.recipe import FeatureRecipe
from models.torch_limits import torch_threads
from models.weights import StateDict

ROUNDS = 5
GEMM_SIDE = 2048
GEMM_REPEATS = 4
NUM_CLIPS = 8
SEED = 3


@dataclass(frozen=True, slots=True)
class StreamBench:
    """One stream's networks and input.

    Attributes:
        plain: as built, fp32.
        ours: as extraction loads it.
        levels: uint8[N, C, F, H, W] of clips.
        dtype: of ours.
    """

    plain: nn.Module
    ours: nn.Module
    levels: Tensor
    dtype: torch.dtype

    def input(self, first: int, count: int, dtype: torch.dtype) -> Tensor:
        """Return [count, C, F, H, W] in [-1, 1], the clips taken in turn."""
        index = [(first + one) % len(self.levels) for one in range(count)]
        return (self.levels[index].float() * (2 / LEVEL_MAX) - 1).to(dtype)


def count_operations(network: nn.Module, x: Tensor) -> float:
    """Return multiplications and additions of all convolutions for one clip of this input."""
    with FlopCounterMode(display=False) as counter:
        _forward(network, x[:1])
    return float(counter.get_total_flops())


def gemm_flops(dtype: torch.dtype) -> float:
    """Return operations per second of a square matrix product on torch's threads: the best run."""
    a = torch.randn(GEMM_SIDE, GEMM_SIDE).to(dtype)
    b = torch.randn(GEMM_SIDE, GEMM_SIDE).to(dtype)
    seconds = min(_seconds(lambda: a @ b) for _ in range(GEMM_REPEATS))
    return 2 * GEMM_SIDE**3 / seconds


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _forward(network: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        features: Tensor = network.forward_features(x)  # type: ignore[operator]
    return features.float()


def seconds_in_lanes(bench: StreamBench, num_threads: int, batch: int) -> float:
    """Return seconds per window with one lane per thread, each on a batch of its own."""
    inputs = [bench.input(lane * batch, batch, bench.dtype) for lane in range(num_threads)]
    with torch_threads(1), ThreadPoolExecutor(num_threads) as pool:

        def turn() -> None:
            list(pool.map(lambda x: _forward(bench.ours, x), inputs))

        turn()
        return _seconds(turn) / (batch * num_threads)


def feature_error(bench: StreamBench) -> tuple[float, float]:
    """Return the mean and the largest relative L2 difference of a clip's features to plain fp32."""
    errors = []
    for index in range(len(bench.levels)):
        exact = _forward(bench.plain, bench.input(index, 1, torch.float32))
        rounded = _forward(bench.ours, bench.input(index, 1, bench.dtype))
        errors.append(float((rounded - exact).norm() / exact.norm()))
    return float(np.mean(errors)), max(errors)


def drawn_frames(num_frames: int, size_px: int) -> np.ndarray:
    """Return uint8[F, S, S, 3] of a texture that moves: for machines without real clips."""
    rng = np.random.default_rng(SEED)
    scene = rng.integers(0, 256, (2 * size_px, 2 * size_px, 3), dtype=np.uint8)
    blurred = cv2.GaussianBlur(scene, (0, 0), 5)
    return np.stack([blurred[i : i + size_px, 2 * i : 2 * i + size_px] for i in range(num_frames)])


def real_frames(folder: Path, recipe: FeatureRecipe, num_frames: int) -> Iterator[np.ndarray]:
    """Yield uint8[F, H, W, 3] of the start of each usable video under a folder."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            with VideoSource(path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
                frames = source.read(0, num_frames)
        except InputError:
            continue
        if len(frames) == num_frames and min(frames.shape[1:3]) >= recipe.crop_px:
            yield frames


def clip_levels(recipe: FeatureRecipe, data: Path | None) -> dict[str, Tensor]:
    """Return stream -> uint8[N, C, F, H, W], channels last in memory, of N clips."""
    wanted = recipe.window_frames + 1
    if data is None:
        drawn = drawn_frames(wanted + NUM_CLIPS, recipe.short_side_px)
        runs = [drawn[at : at + wanted] for at in range(NUM_CLIPS)]
    else:
        found = real_frames(data, recipe, wanted)
        runs = [frames for frames, _ in zip(found, range(NUM_CLIPS), strict=False)]
    engine = build_flow_engine("auto")
    assert recipe.flow is not None  # noqa: S101 - the published recipe has two streams
    rgb = np.stack([center_crop(run[:-1], recipe.crop_px) for run in runs])
    flow = np.stack(
        [
            center_crop(flow_levels(engine, recipe.flow, run[:-1], run[-1:]), recipe.crop_px)
            for run in runs
        ]
    )
    return {
        name: torch.from_numpy(np.ascontiguousarray(one)).permute(0, 4, 1, 2, 3)
        for name, one in (("rgb", rgb), ("flow", flow))
    }


def build_stream(
    recipe: FeatureRecipe, stream: str, state: StateDict, levels: Tensor, precision: str
) -> StreamBench:
    """Load a stream's network twice: plain, and as extraction does."""
    plain = build_backbone(recipe, stream)
    plain.load_state_dict(state)
    ours = load_backbone(recipe, stream, state).to(DTYPES[precision])
    ours.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return StreamBench(plain.eval(), ours, levels, DTYPES[precision])


def measure(bench: StreamBench, num_threads: int, batch: int) -> dict[str, Figure]:
    """Return the figures of one stream."""
    window = bench.input(0, 1, torch.float32).contiguous()
    operations = count_operations(bench.plain, window)
    plain, ours, gemm = [], [], []
    _forward(bench.plain, window)
    for _ in range(ROUNDS):
        gemm.append(gemm_flops(bench.dtype))
        ours.append(seconds_in_lanes(bench, num_threads, batch))
        plain.append(_seconds(lambda: _forward(bench.plain, window)))
    rate = operations / median(ours)
    mean_error, largest_error = feature_error(bench)
    return {
        "ratio_fp32": median(p / o for p, o in zip(plain, ours, strict=True)),
        "share_of_gemm": median(operations / o / g for o, g in zip(ours, gemm, strict=True)),
        "feature_error": largest_error,
        "feature_error_mean": mean_error,
        "seconds_per_window": median(ours),
        "plain_fp32_seconds_per_window": median(plain),
        "gflops": rate / 1e9,
        "gemm_gflops": median(gemm) / 1e9,
        "gflop_per_window": operations / 1e9,
    }


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m bench.i3d", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of videos for the feature error")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=WIDE_CPU_BATCH, help="windows per lane")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    options = parser.parse_args()
    recipe = published_recipe()
    precision = choose_precision(options.precision, "cpu")
    levels = clip_levels(recipe, options.data)
    weights = random_weights(recipe)
    figures: dict[str, Figure] = {"precision": precision, "threads": options.threads}
    per_stream = []
    with torch_threads(options.threads):
        for stream in recipe.streams:
            bench = build_stream(recipe, stream, weights[stream], levels[stream], precision)
            per_stream.append(measure(bench, options.threads, options.batch))
            figures |= {f"{stream}_{name}": value for name, value in per_stream[-1].items()}
    for name, worst in (("ratio_fp32", min), ("share_of_gemm", min), ("feature_error", max)):
        figures[name] = worst(float(str(one[name])) for one in per_stream)
    source = "drawn clips" if options.data is None else f"{NUM_CLIPS} real clips"
    BenchReport("i3d", f"{source}; random weights of the published size", figures).publish(
        options.json
    )


if __name__ == "__main__":
    main()
