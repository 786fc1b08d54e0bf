"""TV-L1 by the native kernel; importing this module fails where the kernel was not built."""

import numpy as np

from models.errors import ContractViolation, OutOfMemory
from models.flow import _tvl1
from models.flow.frames import (
    Region,
    require_frames,
    require_recipe,
    require_region,
    resolve_threads,
)
from models.recipe import FlowRecipe
from models.types import ByteArray, FloatArray


class NativeFlowEngine:
    """Computes frame pairs on threads of its own; each pair is computed by one thread.

    Args:
        num_threads: 0 takes every usable processor.
        processor: one of `_tvl1.targets()`; empty takes the fastest one this machine can run.

    Raises:
        ContractViolation: this machine cannot run `processor`.
    """

    name = "native"

    def __init__(self, num_threads: int = 0, processor: str = "") -> None:
        usable = _tvl1.targets()
        if processor and processor not in usable:
            message = f"This machine runs the kernels {usable}, not {processor!r}."
            raise ContractViolation(message)
        self.num_threads = resolve_threads(num_threads)
        self.processor = processor or usable[0]
        self.version = f"{_tvl1.KERNEL_VERSION}-{self.processor}"

    def compute(
        self, grey: ByteArray, recipe: FlowRecipe, region: Region | None = None
    ) -> FloatArray:
        """Return the flow of every pair of neighbouring frames; see `models.flow.tvl1`."""
        require_frames(grey)
        require_recipe(recipe)
        num_frames, height, width = grey.shape
        wanted = require_region(region, height, width)
        flow = np.empty((num_frames - 1, wanted.height, wanted.width, 2), np.float32)
        solver = _tvl1.Solver(
            tau=recipe.tau,
            lambda_=recipe.lambda_,
            theta=recipe.theta,
            epsilon=recipe.epsilon,
            scale_step=recipe.scale_step,
            num_scales=recipe.num_scales,
            num_warps=recipe.num_warps,
            inner_iterations=recipe.inner_iterations,
            outer_iterations=recipe.outer_iterations,
            median=recipe.median_filtering > 1,
            processor=self.processor,
        )
        try:
            corner = (wanted.top, wanted.left)
            solver.solve(np.ascontiguousarray(grey), flow, self.num_threads, corner)
        except MemoryError as error:
            message = f"Memory ran out for the flow of {width}x{height} frames; use smaller ones."
            raise OutOfMemory(message) from error
        return flow
