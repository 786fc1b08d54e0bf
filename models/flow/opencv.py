"""TV-L1 by OpenCV contrib: the reference, and what runs where the native kernel was not built."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np

from models.errors import ContractViolation, OutOfMemory
from models.flow.frames import (
    Region,
    require_frames,
    require_recipe,
    require_region,
    resolve_threads,
)
from models.recipe import FlowRecipe
from models.types import ByteArray, FloatArray


@contextmanager
def opencv_threads(num_threads: int) -> Iterator[None]:
    """Let OpenCV use this many threads inside the block; its setting is process-wide."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(num_threads)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class OpenCvFlowEngine:
    """Computes one frame pair after the other; OpenCV's threads share the rows of each.

    Args:
        num_threads: 0 takes every usable processor.

    Raises:
        ContractViolation: the installed OpenCV lacks its contrib modules.
    """

    name = "opencv"

    def __init__(self, num_threads: int = 0) -> None:
        if not hasattr(cv2, "optflow"):
            message = "OpenCV has no optical flow module; install opencv-contrib-python-headless."
            raise ContractViolation(message)
        self.num_threads = resolve_threads(num_threads)
        self.version = str(cv2.__version__)

    def compute(
        self, grey: ByteArray, recipe: FlowRecipe, region: Region | None = None
    ) -> FloatArray:
        """Return the flow of every pair of neighbouring frames; see `models.flow.tvl1`."""
        require_frames(grey)
        require_recipe(recipe)
        num_frames, height, width = grey.shape
        wanted = require_region(region, height, width)
        flow = np.empty((num_frames - 1, height, width, 2), np.float32)
        # A fresh solver per batch: OpenCV lowers its number of scales for good on small frames.
        solver = cv2.optflow.createOptFlow_DualTVL1()
        solver.setTau(recipe.tau)
        solver.setLambda(recipe.lambda_)
        solver.setTheta(recipe.theta)
        solver.setScalesNumber(recipe.num_scales)
        solver.setScaleStep(recipe.scale_step)
        solver.setWarpingsNumber(recipe.num_warps)
        solver.setEpsilon(recipe.epsilon)
        solver.setInnerIterations(recipe.inner_iterations)
        solver.setOuterIterations(recipe.outer_iterations)
        solver.setMedianFiltering(recipe.median_filtering)
        frames = np.ascontiguousarray(grey)
        try:
            with opencv_threads(self.num_threads):
                for index in range(num_frames - 1):
                    solver.calc(frames[index], frames[index + 1], flow[index])
        except (MemoryError, cv2.error) as error:
            if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
                raise
            message = f"Memory ran out for the flow of {width}x{height} frames; use smaller ones."
            raise OutOfMemory(message) from error
        return wanted.cut(flow)
