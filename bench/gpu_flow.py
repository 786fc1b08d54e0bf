"""TV-L1 on the device for `bench.gpu`: pairs per second beside the roofline and the processor."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.gpu_roofline import (
    Peaks,
    Work,
    bytes_per_pixel_iteration,
    operations_per_pixel_iteration,
    other_bytes_per_pair,
    seconds_of,
)
from bench.report import Figure
from models.errors import ContractViolation
from models.flow.tvl1 import build_flow_engine
from models.flow.tvl1_gpu import GpuFlowEngine
from models.flow.tvl1_gpu_frames import grey_from_rgb
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe
from models.types import ByteArray

GOAL_PAIRS_PER_SECOND = 1500.0
# Other ways to cut a level.
OTHER_CUTS = (
    *(Cut(iterations, 64) for iterations in (2, 3, 5, 6)),
    *(Cut(4, lanes) for lanes in (32, 128)),
    *(Cut(largest_segment_rows=rows) for rows in (32, 128, 256)),
)
MICROSECONDS = 1e-6


@dataclass(frozen=True, slots=True)
class FlowBench:
    """What is measured.

    Attributes:
        grey: uint8[F + 1, H, W] on the device.
        recipe: parameters of the solver.
        batches: pairs at a time.
        compared_pairs: of which the difference to the other implementations is computed.
        repeats: of which the median counts.
    """

    grey: Tensor
    recipe: FlowRecipe
    batches: tuple[int, ...]
    compared_pairs: int
    repeats: int


def upload_grey(frames: ByteArray, device: torch.device) -> Tensor:
    """Return uint8[F, H, W] on the device of uint8[F, H, W, 3] in memory."""
    return grey_from_rgb(torch.from_numpy(frames).to(device))


def measure_flow(bench: FlowBench, peaks: Peaks) -> dict[str, Figure]:
    """Return every figure of TV-L1."""
    device = bench.grey.device
    engine = GpuFlowEngine(device)
    rates = {}
    for pairs in bench.batches:
        part = bench.grey[: pairs + 1]

        def run(part: Tensor = part) -> Tensor:
            return engine.compute_tensor(part, bench.recipe)

        rates[pairs] = pairs / seconds_of(run, device, bench.repeats)
    best = max(rates, key=lambda pairs: rates[pairs])
    solution = engine.solve(bench.grey[: best + 1], bench.recipe)
    iterations = float(solution.pixel_iterations.double().mean())
    work = flow_work(iterations, bench)
    floor = work.seconds(peaks.fp32_flops, peaks.bytes_per_second)
    return {
        "tvl1_engine": engine.version,
        "tvl1_pairs_per_second": rates[best],
        "tvl1_goal_pairs_per_second": GOAL_PAIRS_PER_SECOND,
        "tvl1_pairs_at_a_time": best,
        "tvl1_pairs_per_second_by_batch": {str(pairs): rate for pairs, rate in rates.items()},
        "tvl1_pixel_iterations_per_pair": iterations,
        "tvl1_pixel_iterations_per_second": iterations * rates[best],
        "tvl1_operations_per_pair": work.operations,
        "tvl1_bytes_per_pair": work.num_bytes,
        "tvl1_roofline_pairs_per_second": 1 / floor,
        "tvl1_share_of_roofline": rates[best] * floor,
        "tvl1_bound_by_memory": work.num_bytes / peaks.bytes_per_second
        > work.operations / peaks.fp32_flops,
        "tvl1_mean_motion_px": float(solution.flow.norm(dim=-1).mean()),
        **compare(bench, solution.flow),
    }


def flow_work(pixel_iterations: float, bench: FlowBench) -> Work:
    """Count operations and bytes of a pair; operations of the iterations alone."""
    height, width = bench.grey.shape[1:]
    moved = pixel_iterations * bytes_per_pixel_iteration(Cut(), width)
    return Work(
        pixel_iterations * operations_per_pixel_iteration(),
        moved + other_bytes_per_pair(bench.recipe, height, width),
    )


def compare(bench: FlowBench, flow: Tensor) -> dict[str, Figure]:
    """Return mean end-point errors to the other implementations, and the processor's speed."""
    pairs = min(bench.compared_pairs, len(flow))
    grey = bench.grey[: pairs + 1]
    ours = flow[:pairs]
    plain = GpuFlowEngine(grey.device, "torch").compute_tensor(grey, bench.recipe)
    figures: dict[str, Figure] = {
        "tvl1_epe_to_torch_operations_px": float((ours - plain).norm(dim=-1).mean()),
        "tvl1_num_compared": pairs,
        "tvl1_alone_changes_a_bit": not torch.equal(
            GpuFlowEngine(grey.device).compute_tensor(grey[-2:], bench.recipe)[0], ours[-1]
        ),
    }
    for name in ("native", "opencv"):
        try:
            engine = build_flow_engine(name)
        except ContractViolation as error:
            figures[f"tvl1_{name}"] = f"not measured: {error}"
            continue
        host = grey.cpu().numpy()
        started = time.perf_counter()
        theirs = engine.compute(host, bench.recipe)
        seconds = time.perf_counter() - started
        errors = np.hypot(*np.moveaxis(ours.cpu().numpy() - theirs, -1, 0))
        figures[f"tvl1_{name}"] = f"{engine.version}, {engine.num_threads} threads"
        figures[f"tvl1_{name}_pairs_per_second"] = pairs / seconds
        figures[f"tvl1_epe_to_{name}_px"] = float(errors.mean())
    return figures


def measure_cuts(bench: FlowBench) -> dict[str, Figure]:
    """Return pairs per second of other tiles of the Triton kernels."""
    part = bench.grey[: max(bench.batches) + 1]
    rates: dict[str, Figure] = {}
    for cut in OTHER_CUTS:
        engine = GpuFlowEngine(part.device, cut=cut)

        def run(engine: GpuFlowEngine = engine) -> Tensor:
            return engine.compute_tensor(part, bench.recipe)

        seconds = seconds_of(run, part.device, bench.repeats)
        name = f"k{cut.pass_iterations}x{cut.strip_lanes}, {cut.largest_segment_rows} rows"
        rates[name] = (len(part) - 1) / seconds
    return {"tvl1_pairs_per_second_by_cut": rates}


def profile_kernels(bench: FlowBench) -> dict[str, Figure]:
    """Return the seconds that each kernel of one largest batch takes on the device."""
    engine = GpuFlowEngine(bench.grey.device)
    part = bench.grey[: max(bench.batches) + 1]
    engine.compute_tensor(part, bench.recipe)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        engine.compute_tensor(part, bench.recipe)
    seconds = {
        one.key: one.self_device_time_total * MICROSECONDS
        for one in profiler.key_averages()
        if one.self_device_time_total > 0
    }
    longest = sorted(seconds, key=lambda key: -seconds[key])[:8]
    return {"tvl1_kernel_seconds": {key: seconds[key] for key in longest}}
