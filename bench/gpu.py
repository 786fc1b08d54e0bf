"""Measures a CUDA device: TV-L1, I3D, the way from frames to features, and RAFT beside them.

    python -m bench.gpu [--json PATH] [--data DIR] [--cuts] [--profile] [--dry]

Each rate stands beside its roofline: operations and bytes counted by formula, over the rates of
a matrix product and a copy measured in the same run. Without a CUDA device it says so and exits
with status 3. With --dry everything runs at tiny sizes on the processor: the figures mean
nothing, but show that the bench is ready. With --data the frames come from real clips where PyAV
is installed; otherwise they are drawn.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from bench.gpu_flow import FlowBench, measure_cuts, measure_flow, profile_kernels, upload_grey
from bench.gpu_frames import decode_frames, draw_frames, has_decoder
from bench.gpu_networks import (
    BackboneBench,
    RaftBench,
    load_networks,
    measure_backbones,
    measure_raft,
)
from bench.gpu_path import PathBench, measure_device_path, measure_extraction
from bench.gpu_roofline import measure_peaks
from bench.report import BenchReport, Figure
from models.catalog import published_recipe
from models.recipe import FeatureRecipe, FlowRecipe
from models.types import ByteArray

NO_DEVICE_STATUS = 3


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        height, width: of the frames.
        flow_batches: pairs at a time.
        compared_pairs: of which flow is compared with other implementations.
        window_batches: windows at a time.
        raft_side: smallest side RAFT is given.
        raft_batch, raft_updates: pairs at a time; updates of RAFT.
        matrix_side: of the factors that measure the peaks.
        copy_bytes: of one copy.
        path_frames: of the video that is extracted.
        repeats: of every measurement.
    """

    height: int = 256
    width: int = 341
    flow_batches: tuple[int, ...] = (32, 128, 400, 1024)
    compared_pairs: int = 16
    window_batches: tuple[int, ...] = (8, 16, 32, 64)
    raft_side: int = 256
    raft_batch: int = 16
    raft_updates: int = 12
    matrix_side: int = 8192
    copy_bytes: int = 4 << 30
    path_frames: int = 4800
    repeats: int = 5


DRY_SIZES = Sizes(
    height=24,
    width=32,
    flow_batches=(1, 2),
    compared_pairs=1,
    window_batches=(1,),
    # Below this RAFT's coarsest correlation vanishes.
    raft_side=128,
    raft_batch=1,
    raft_updates=1,
    matrix_side=64,
    copy_bytes=1 << 16,
    path_frames=16,
    repeats=1,
)


def recipe_of(dry: bool) -> FeatureRecipe:
    """Return the published recipe, or a narrow one of tiny frames."""
    recipe = published_recipe()
    if not dry:
        return recipe
    flow = FlowRecipe(num_scales=1, num_warps=1, inner_iterations=2, outer_iterations=1)
    return replace(recipe, short_side_px=24, crop_px=24, width=0.125, stream_width=128, flow=flow)


def load_frames(sizes: Sizes, folder: Path | None) -> tuple[ByteArray, str]:
    """Return frames, and in words where they come from."""
    count = max(*sizes.flow_batches, 16) + 1
    if folder is not None and has_decoder():
        frames = decode_frames(folder, count, sizes.height, sizes.width)
        if frames is not None:
            return frames, f"{count} frames of clips of {folder.name}"
    size = f"{sizes.width}x{sizes.height}"
    return draw_frames(count, sizes.height, sizes.width), f"{count} drawn frames, {size} px"


def measure(
    frames: ByteArray, sizes: Sizes, device: torch.device, options: argparse.Namespace
) -> dict[str, Figure]:
    """Return every figure."""
    recipe = recipe_of(options.dry)
    if recipe.flow is None:
        raise SystemExit("bench.gpu measures a recipe with a flow stream.")
    peaks = measure_peaks(device, sizes.matrix_side, sizes.copy_bytes, sizes.repeats)
    flow = FlowBench(
        upload_grey(frames, device),
        recipe.flow,
        sizes.flow_batches,
        sizes.compared_pairs,
        sizes.repeats,
    )
    dtype = torch.float32 if options.dry else torch.bfloat16
    networks = BackboneBench(recipe, dtype, sizes.window_batches, sizes.repeats, device)
    raft = RaftBench(
        max(sizes.height, sizes.raft_side),
        max(sizes.width, sizes.raft_side),
        sizes.raft_batch,
        sizes.raft_updates,
        sizes.repeats,
        device,
    )
    path = PathBench(
        frames, recipe, sizes.path_frames, max(sizes.window_batches), dtype, sizes.repeats, device
    )
    figures: dict[str, Figure] = {f"peak_{name}": rate for name, rate in asdict(peaks).items()}
    figures |= measure_flow(flow, peaks)
    if options.cuts:
        figures |= measure_cuts(flow)
    if options.profile:
        figures |= profile_kernels(flow)
    loaded = load_networks(networks)
    figures |= measure_backbones(networks, loaded, peaks)
    figures |= measure_device_path(path, loaded)
    del loaded
    figures |= measure_extraction(path)
    figures |= measure_raft(raft, peaks)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--data", type=Path, help="folder of clips to take frames from")
    parser.add_argument("--cuts", action="store_true", help="try other tiles of TV-L1, too")
    parser.add_argument("--profile", action="store_true", help="list TV-L1's kernels, too")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the processor")
    options = parser.parse_args(arguments)
    if not options.dry and not torch.cuda.is_available():
        print("bench.gpu needs a CUDA device, and torch finds none here.", file=sys.stderr)
        raise SystemExit(NO_DEVICE_STATUS)
    device = torch.device("cpu" if options.dry else "cuda")
    sizes = DRY_SIZES if options.dry else Sizes()
    frames, source = load_frames(sizes, options.data)
    name = "the processor (dry)" if options.dry else torch.cuda.get_device_name(device)
    figures: dict[str, Figure] = {"device": name, "torch": torch.__version__}
    figures |= measure(frames, sizes, device, options)
    BenchReport("gpu", source, figures).publish(options.json)


if __name__ == "__main__":
    main()
