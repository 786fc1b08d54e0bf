"""What the work of `bench.gpu` costs by formula, and how fast the device itself is.

Operations and bytes are counted from the equations and the layout of the planes; peaks are
measured in the same run: a bf16 and a float32 matrix product, and a copy.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from models.flow.tvl1_gpu_levels import level_sizes
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe

FLOAT_BYTES = 4
BF16_BYTES = 2
# Planes that an iteration reads (flow, duals, prepared) and writes (flow, duals).
PLANES_READ = 2 + 4 + 4
PLANES_WRITTEN = 2 + 4


@dataclass(frozen=True, slots=True)
class Peaks:
    """Measured rates of the device.

    Attributes:
        bf16_flops, fp32_flops: of square matrix products, per second; fp32 without TF32.
        tf32_flops: float32 products as convolutions do them by default.
        bytes_per_second: read plus written, of a copy that does not fit into any cache.
    """

    bf16_flops: float
    fp32_flops: float
    tf32_flops: float
    bytes_per_second: float


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median seconds of one call, after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - started)
    return median(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_peaks(device: torch.device, side: int, copy_bytes: int, repeats: int) -> Peaks:
    """Measure the device; random factors, because zeros multiply faster than numbers."""
    operations = 2 * side**3

    def rate(dtype: torch.dtype) -> float:
        left, right = (torch.randn((side, side), device=device).to(dtype) for _ in range(2))
        result = torch.empty_like(left)
        return operations / seconds_of(lambda: torch.mm(left, right, out=result), device, repeats)

    copied = _copy_rate(device, copy_bytes, repeats)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        fp32 = rate(torch.float32)
        torch.set_float32_matmul_precision("high")
        tf32 = rate(torch.float32)
    finally:
        torch.set_float32_matmul_precision(before)
    return Peaks(rate(torch.bfloat16), fp32, tf32, copied)


def _copy_rate(device: torch.device, copy_bytes: int, repeats: int) -> float:
    source = torch.ones(copy_bytes // FLOAT_BYTES, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_of(lambda: target.copy_(source), device, repeats)


def operations_per_pixel_iteration() -> int:
    """Count one TV-L1 iteration of one pixel; roots and comparisons count as one, too.

    Primal: rho by the gradient 5, its clamp 2, two divergences 2 x 3, change 2 x 2, flow 2, sum
    of squared changes 4. Dual, for each of two components: differences 2, norm 6, factor 4, both
    parts 2 x 3.
    """
    primal = 5 + 2 + 2 * 3 + 2 * 2 + 2 + 4
    dual = 2 * (2 + 6 + 4 + 2 * 3)
    return primal + dual


def bytes_per_pixel_iteration(cut: Cut, width: int) -> float:
    """Count what an iteration moves between memory and multiprocessors, per pixel of the frame.

    A pass reads ten planes and writes six for `cut.pass_iterations` iterations; strips and the
    longest segments overlap, which makes it read more than it owns.
    """
    halo = 2 * cut.pass_iterations
    across = cut.num_strips(width) * cut.strip_lanes / (width + 1)
    down = (cut.largest_segment_rows + halo) / cut.largest_segment_rows
    planes = PLANES_READ * across * down + PLANES_WRITTEN
    return planes * FLOAT_BYTES / cut.pass_iterations


def other_bytes_per_pair(recipe: FlowRecipe, height: int, width: int) -> int:
    """Count what pyramid, warps and medians move for a pair, one median per warp.

    A pixel of a level: 1 + 3 planes of pyramid and gradients once; per warp 1 + 3 + 2 planes
    read and 4 written; per median 2 read and 2 written.
    """
    pixels = sum(h * w for h, w in level_sizes(height, width, recipe))
    return FLOAT_BYTES * pixels * (4 + recipe.num_warps * (10 + 4))


@dataclass(frozen=True, slots=True)
class Work:
    """Operations and bytes of one unit of work."""

    operations: float
    num_bytes: float

    def seconds(self, flops: float, bytes_per_second: float) -> float:
        """Return the time below which this work cannot be done on such a device."""
        return max(self.operations / flops, self.num_bytes / bytes_per_second)


class _ConvolutionCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up operations and bytes of the convolutions inside the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.num_bytes = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own signature, here and below
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket == torch.ops.aten.convolution:
            source, weight = args[0], args[1]
            self.operations += 2 * result.numel() * weight[0].numel()
            moved = source.numel() + result.numel() + weight.numel()
            self.num_bytes += BF16_BYTES * moved
        return result


def convolution_work(run: Callable[[], object]) -> Work:
    """Count the convolutions of a call: 2 x outputs x weights per output channel.

    Bytes: every convolution reads its input and weights and writes its output once, in bf16.
    Works on the meta device, where nothing is computed.
    """
    # Not inference mode, in which torch shows convolutions under other names.
    with torch.no_grad(), _ConvolutionCounter() as counter:
        run()
    return Work(counter.operations, counter.num_bytes)


def torch_operations(run: Callable[[], Tensor | list[Tensor]]) -> int:
    """Count matrix products and convolutions of a call, as torch itself counts them."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
