"""The whole way on the device for `bench.gpu`: frames to features, with and without decoding."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.gpu_frames import MemoryVideo, has_decoder
from bench.gpu_roofline import seconds_of
from bench.report import Figure
from models.backbones.registry import random_weights
from models.decode import VideoSource
from models.features import ExtractorSettings, FeatureExtractor
from models.flow.frames import Region
from models.flow.tvl1_gpu import GpuFlowEngine
from models.flow.tvl1_gpu_frames import grey_from_rgb, quantize_tensor
from models.frame_windows import FrameSource
from models.recipe import FeatureRecipe
from models.torch_limits import reproducible_convolutions
from models.types import ByteArray

GOAL_FRAMES_PER_SECOND = 2000.0
LEVEL_MAX = 255


@dataclass(frozen=True, slots=True)
class PathBench:
    """What is measured.

    Attributes:
        frames: uint8[F, H, W, 3] in memory.
        recipe: two streams.
        num_frames: of the video that extraction is given.
        windows: per pass of a backbone.
        dtype: of the backbones.
        repeats: of which the median counts.
        device: where.
    """

    frames: ByteArray
    recipe: FeatureRecipe
    num_frames: int
    windows: int
    dtype: torch.dtype
    repeats: int
    device: torch.device


def measure_device_path(bench: PathBench, networks: dict[str, nn.Module]) -> dict[str, Figure]:
    """Time upload, flow and both networks one after the other, from frames in pinned memory.

    What the device can do when nothing outside it stands in the way.
    """
    window = bench.recipe.window_frames
    count = (len(bench.frames) - 1) // window * window
    host = torch.from_numpy(bench.frames[: count + 1])
    if bench.device.type == "cuda":
        host = host.pin_memory()
    engine = GpuFlowEngine(bench.device)

    def levels() -> dict[str, Tensor]:
        rgb = host.to(bench.device, non_blocking=True)
        return {"rgb": _cropped(rgb, bench.recipe)[:count], "flow": _levels(engine, rgb, bench)}

    def run() -> list[Tensor]:
        return [
            _embed(networks[stream], levels_of_stream, bench)
            for stream, levels_of_stream in levels().items()
        ]

    with reproducible_convolutions():
        whole = seconds_of(run, bench.device, bench.repeats)
    inputs = seconds_of(levels, bench.device, bench.repeats)
    return {
        "device_path_frames_per_second": count / whole,
        "device_path_goal_frames_per_second": GOAL_FRAMES_PER_SECOND,
        "device_path_num_frames": count,
        "device_path_share_of_flow_and_upload": inputs / whole,
    }


def _cropped(rgb: Tensor, recipe: FeatureRecipe) -> Tensor:
    middle = Region.center((rgb.shape[1], rgb.shape[2]), recipe.crop_px)
    rows = slice(middle.top, middle.top + middle.height)
    return rgb[:, rows, middle.left : middle.left + middle.width]


def _levels(engine: GpuFlowEngine, rgb: Tensor, bench: PathBench) -> Tensor:
    flow_recipe = bench.recipe.flow
    if flow_recipe is None:
        raise SystemExit("bench.gpu measures a recipe with a flow stream.")
    middle = Region.center((rgb.shape[1], rgb.shape[2]), bench.recipe.crop_px)
    flow = engine.compute_tensor(grey_from_rgb(rgb), flow_recipe, middle)
    return quantize_tensor(flow, flow_recipe.clip_px)


def _embed(network: nn.Module, levels: Tensor, bench: PathBench) -> Tensor:
    """Return float[T, D] of uint8[T * window, H, W, C]."""
    windows = levels.reshape(-1, bench.recipe.window_frames, *levels.shape[1:])
    windows = windows.permute(0, 4, 1, 2, 3)
    features = []
    with torch.inference_mode():
        for start in range(0, len(windows), bench.windows):
            x = windows[start : start + bench.windows]
            x = x.to(torch.float32).mul_(2 / LEVEL_MAX).sub_(1).to(bench.dtype)
            features.append(network.forward_features(x))  # type: ignore[operator]
        return torch.cat(features)


def measure_extraction(bench: PathBench) -> dict[str, Figure]:
    """Time `FeatureExtractor` as it is used, with and without decoding."""
    precision = "bf16" if bench.dtype == torch.bfloat16 else "fp32"
    extractor = FeatureExtractor(
        bench.recipe,
        random_weights(bench.recipe),
        ExtractorSettings(device=str(bench.device), precision=precision),
    )
    # The first windows compile and choose algorithms.
    warm = MemoryVideo(bench.frames, bench.recipe.fps, 2 * bench.recipe.window_frames)
    extractor.extract(warm)
    video = MemoryVideo(bench.frames, bench.recipe.fps, bench.num_frames)
    figures: dict[str, Figure] = {
        "extraction_frames_per_second": bench.num_frames / _seconds(extractor, video),
        "extraction_goal_frames_per_second": GOAL_FRAMES_PER_SECOND,
        "extraction_num_frames": bench.num_frames,
        "extraction_computed_with": dict(extractor.computed_with),
    }
    if not has_decoder():
        return figures | {"decoded_frames_per_second": "not measured: PyAV is not installed"}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "drawn.mp4"
        _encode(path, bench)
        recipe = bench.recipe
        with VideoSource(path, fps=recipe.fps, short_side_px=recipe.short_side_px) as source:
            figures["decoded_frames_per_second"] = bench.num_frames / _seconds(extractor, source)
    return figures


def _seconds(extractor: FeatureExtractor, source: FrameSource) -> float:
    started = time.perf_counter()
    extractor.extract(source)
    return time.perf_counter() - started


def _encode(path: Path, bench: PathBench) -> None:
    # Imported here because it needs the decoder's library.
    from models.synthetic import encode_video

    # An even width, as H.264 wants it.
    even = bench.frames[:, :, : bench.frames.shape[2] // 2 * 2]
    again: Iterator[ByteArray] = chain.from_iterable(repeat(list(even)))
    encode_video(islice(again, bench.num_frames), path, fps=bench.recipe.fps, codec="h264")
