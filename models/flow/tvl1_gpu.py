"""TV-L1 on a GPU: whole batches of frame pairs, the frames uploaded once.

Owns the way through the pyramid, the choice of back-end, and how many pairs are under way at a
time. The native kernel is the definition: both back-ends have its pyramid, warp, median and
stopping rule, which is checked after every iteration of every pair.
"""

import importlib
import importlib.util
import shutil
import sysconfig
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.errors import ContractViolation, OutOfMemory
from models.flow import tvl1_gpu_torch
from models.flow.frames import Region, require_frames, require_recipe, require_region
from models.flow.tvl1_gpu_levels import build_pyramid, upsample_flow, with_gradients
from models.flow.tvl1_gpu_tiles import Cut
from models.recipe import FlowRecipe
from models.types import ByteArray, FloatArray

LevelSolver = Callable[[Tensor, Tensor, Tensor, FlowRecipe], tuple[Tensor, Tensor]]

# Raised whenever the same frames would give another flow.
ARITHMETIC_VERSION = "1"
BACKENDS = ("auto", "triton", "torch")
# Memory for the pairs under way at a time; at 341x256 px a thousand of them. More pairs at a time
# keep the device busy while the last ones settle.
WORK_BYTES = 16 << 30
# Planes of float32 that one pair takes at the finest level, both back-ends, torch's own included.
PLANES_PER_PAIR = 48
FLOAT_BYTES = 4
# Of what is free on a device, the share that pairs under way may take.
FREE_SHARE = 0.5
# A launch counts pairs in a dimension that ends here.
MOST_PAIRS = 65_535
# Of a CUDA device that Triton compiles for. Source: Triton README, compatibility.
SMALLEST_CAPABILITY = (8, 0)


class TritonMissing(RuntimeWarning):
    """Triton cannot run on a CUDA device, so flow takes several times as long as it could."""


@dataclass(frozen=True, slots=True)
class FlowSolution:
    """Flow, and what it took.

    Attributes:
        flow: float32[F, H, W, 2], (x, y) in pixels.
        pixel_iterations: int64[F], pixels times iterations, over all levels.
    """

    flow: Tensor
    pixel_iterations: Tensor


class GpuFlowEngine:
    """Computes frame pairs on a device; cheap to build, compiled at first use.

    Args:
        device: as torch names it.
        backend: ``triton``, ``torch``, or ``auto``: Triton's kernels where there is Triton and
            a CUDA device, otherwise torch operations with the same arithmetic.
        work_bytes: about how much memory pairs under way may take; decides no result.
        cut: of the Triton kernels.

    Raises:
        ContractViolation: the back-end is unknown or not installed.
    """

    name = "gpu"

    def __init__(
        self,
        device: str | torch.device = "cuda",
        backend: str = "auto",
        work_bytes: int = WORK_BYTES,
        cut: Cut | None = None,
    ) -> None:
        if backend not in BACKENDS:
            message = f"The GPU flow back-end is one of {BACKENDS}, got {backend!r}."
            raise ContractViolation(message)
        self.device = torch.device(device)
        self.num_threads = 1
        self._work_bytes = work_bytes
        if backend == "triton" and importlib.util.find_spec("triton") is None:
            message = "Triton is not installed; choose the flow back-end 'torch'."
            raise ContractViolation(message)
        self.backend = _choose_backend(self.device) if backend == "auto" else backend
        self._cut = cut if cut is not None else Cut()
        self.version = _describe(self.backend, self._cut)

    def compute(
        self, grey: ByteArray, recipe: FlowRecipe, region: Region | None = None
    ) -> FloatArray:
        """Return the flow of every pair of neighbouring frames; see `models.flow.tvl1`."""
        require_frames(grey)
        uploaded = torch.from_numpy(grey.copy()).to(self.device)
        flow: FloatArray = self.compute_tensor(uploaded, recipe, region).cpu().numpy()
        return flow

    def compute_tensor(
        self, grey: Tensor, recipe: FlowRecipe, region: Region | None = None
    ) -> Tensor:
        """Return the flow of every pair of neighbouring frames, on the device.

        The flow of a pair depends on its two frames and the recipe alone; not a bit of it
        depends on the other pairs. Give many pairs at a time: some hundred keep a large card
        busy.

        Args:
            grey: uint8[F + 1, H, W] on the engine's device, see `grey_from_rgb`.
            recipe: parameters of the solver.
            region: what is wanted of each frame; None for all of it.

        Returns:
            float32[F, h, w, 2] of the region, as `FlowEngine.compute` says.

        Raises:
            ContractViolation: the frames, the recipe or the region are not as described.
            OutOfMemory: the device has no room for the work.
        """
        height, width = _checked_size(grey)
        wanted = require_region(region, height, width)
        flow = self.solve(grey, recipe).flow
        rows = slice(wanted.top, wanted.top + wanted.height)
        return flow[:, rows, wanted.left : wanted.left + wanted.width]

    def solve(self, grey: Tensor, recipe: FlowRecipe) -> FlowSolution:
        """Return the whole flow and the work it took; see `compute_tensor`."""
        height, width = _checked_size(grey)
        require_recipe(recipe)
        if grey.device.type != self.device.type:
            message = f"The frames are on {grey.device}, the flow engine on {self.device}."
            raise ContractViolation(message)
        pairs = len(grey) - 1
        flow = torch.empty((pairs, height, width, 2), dtype=torch.float32, device=grey.device)
        work = torch.zeros(pairs, dtype=torch.int64, device=grey.device)
        at_once = self._pairs_at_once(grey)
        solver = _load_solver(self.backend, self._cut)
        # Triton launches on the current device, whatever the tensors are on.
        current = torch.cuda.device(grey.device) if grey.is_cuda else nullcontext()
        try:
            with current, torch.inference_mode():
                for start in range(0, pairs, at_once):
                    stop = min(start + at_once, pairs)
                    solved, taken = _solve_pairs(grey[start : stop + 1], recipe, solver)
                    flow[start:stop] = solved.permute(0, 2, 3, 1)
                    work[start:stop] = taken
        except torch.OutOfMemoryError as error:
            message = f"Memory ran out for the flow of {width}x{height} frames; use smaller ones."
            raise OutOfMemory(message) from error
        return FlowSolution(flow, work)

    def _pairs_at_once(self, grey: Tensor) -> int:
        work_bytes = self._work_bytes
        if grey.is_cuda:
            free_bytes, _ = torch.cuda.mem_get_info(grey.device)
            # What torch holds without using it is free for this, too.
            held = torch.cuda.memory_reserved(grey.device)
            free_bytes += held - torch.cuda.memory_allocated(grey.device)
            work_bytes = min(work_bytes, int(FREE_SHARE * free_bytes))
        pair_bytes = PLANES_PER_PAIR * FLOAT_BYTES * grey.shape[1] * grey.shape[2]
        return min(MOST_PAIRS, max(1, work_bytes // pair_bytes))


def _choose_backend(device: torch.device) -> str:
    """Return ``triton`` where its kernels can run; warn where only something small is missing."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return "torch"
    missing = _missing_for_triton(device)
    if missing is None:
        return "triton"
    message = (
        f"Optical flow on this GPU uses plain torch operations and takes several times as long, "
        f"because {missing}."
    )
    warnings.warn(message, TritonMissing, stacklevel=3)
    return "torch"


def _missing_for_triton(device: torch.device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    # Triton compiles a small C program against Python's headers for each kernel it launches.
    if shutil.which("gcc") is None and shutil.which("clang") is None:
        return "Triton finds no C compiler; install gcc"
    if not _has_python_headers():
        return "Triton finds no Python.h; install Python's headers"
    capability = torch.cuda.get_device_capability(device)
    if capability < SMALLEST_CAPABILITY:
        return f"Triton does not know its compute capability {capability[0]}.{capability[1]}"
    return None


def _has_python_headers() -> bool:
    return (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file()


def _describe(backend: str, cut: Cut) -> str:
    if backend == "torch":
        return f"{ARITHMETIC_VERSION}-torch-{torch.__version__}"
    # The cut into strips decides in which order changes are summed.
    tiles = f"k{cut.pass_iterations}x{cut.strip_lanes}"
    # By name, because the package is called otherwise in some of torch's builds.
    version = importlib.import_module("triton").__version__
    return f"{ARITHMETIC_VERSION}-triton-{tiles}-{version}"


def _checked_size(grey: Tensor) -> tuple[int, int]:
    dtype = np.uint8 if grey.dtype == torch.uint8 else np.float32
    # Shape and kind are what the host's check looks at; this array has both and no memory.
    require_frames(np.broadcast_to(np.zeros((), dtype), tuple(grey.shape)))
    return grey.shape[1], grey.shape[2]


def _load_solver(backend: str, cut: Cut) -> LevelSolver:
    if backend == "torch":
        return tvl1_gpu_torch.solve_level
    # Imported here because Triton may be missing, and takes a while to load.
    from models.flow import tvl1_gpu_triton

    return partial(tvl1_gpu_triton.solve_level, cut=cut)


def _solve_pairs(
    frames: Tensor, recipe: FlowRecipe, solve_level: LevelSolver
) -> tuple[Tensor, Tensor]:
    """Return float32[P, 2, H, W] and int64[P] of uint8[P + 1, H, W], from coarse to fine."""
    images = build_pyramid(frames, recipe)
    flow = images[-1].new_zeros((len(frames) - 1, 2, *images[-1].shape[1:]))
    work = torch.zeros(len(flow), dtype=torch.int64, device=frames.device)
    for index in range(len(images) - 1, -1, -1):
        image = images[index]
        flow, iterations = solve_level(image[:-1], with_gradients(image[1:]), flow, recipe)
        work += iterations * (image.shape[1] * image.shape[2])
        if index > 0:
            finer = images[index - 1]
            flow = upsample_flow(flow, (finer.shape[1], finer.shape[2]), recipe)
    return flow, work
