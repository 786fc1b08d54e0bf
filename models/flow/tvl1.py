"""The one interface to TV-L1 optical flow, the choice of its implementation, and flow bytes.

Says nothing about which frames are neighbours or what is cropped; that is `models.features`.
"""

import warnings
from typing import Protocol

import numpy as np

from models.errors import ContractViolation
from models.flow.frames import Region
from models.recipe import FlowRecipe
from models.types import ByteArray, FloatArray

LARGEST_LEVEL = 255


class NativeFlowMissing(RuntimeWarning):
    """The native kernel was not built, so flow takes many times as long as it could."""


class FlowEngine(Protocol):
    """Computes optical flow.

    Attributes:
        name: ``native``, ``opencv`` or ``gpu``.
        version: of the implementation; recorded in ``computed_with``.
        num_threads: how many threads one call of `compute` uses.
    """

    name: str
    version: str
    num_threads: int

    def compute(
        self, grey: ByteArray, recipe: FlowRecipe, region: Region | None = None
    ) -> FloatArray:
        """Compute the flow of every pair of neighbouring frames.

        The flow of a pair depends on its two frames, the recipe and the region alone: neither the
        number of threads nor what else is in the batch changes a bit of it. With a region an
        engine may leave out what lies far from it; inside, that changes the flow by less than the
        engine differs from the reference.

        Args:
            grey: uint8[F + 1, H, W], consecutive frames, any strides; H, W >= 3.
            recipe: parameters of the solver.
            region: what is wanted of each frame; None for all of it.

        Returns:
            float32[F, h, w, 2] of the region, (x, y) in pixels from frame f to frame f + 1, not
            clipped; F may be 0.

        Raises:
            ContractViolation: the frames, the recipe or the region are not as described.
            OutOfMemory: the solver's buffers could not be allocated.
        """
        ...


def build_flow_engine(
    implementation: str = "auto", num_threads: int = 0, device: str = "cuda"
) -> FlowEngine:
    """Return a flow engine.

    Args:
        implementation: ``native``, ``opencv``, ``gpu``, or ``auto``: the native one where it was
            built, otherwise OpenCV with one `NativeFlowMissing` warning.
        num_threads: threads of one call; 0 takes every usable processor.
        device: of ``gpu``, as torch names it; the others run on the processor.

    Raises:
        ContractViolation: the implementation is unknown or not installed.
    """
    if implementation not in ("auto", "native", "opencv", "gpu"):
        message = f"The flow implementation is auto, native, opencv or gpu, got {implementation!r}."
        raise ContractViolation(message)
    if implementation == "gpu":
        # Imported here because torch takes seconds to load and the others do without it.
        from models.flow.tvl1_gpu import GpuFlowEngine

        return GpuFlowEngine(device)
    if implementation != "opencv":
        # Imported here because either implementation may be missing from an installation.
        try:
            from models.flow.native import NativeFlowEngine
        except ImportError as error:
            if implementation == "native":
                message = "The native TV-L1 kernel was not built; reinstall with a C++ compiler."
                raise ContractViolation(message) from error
            message = (
                "The native TV-L1 kernel was not built, so optical flow uses OpenCV and takes many "
                "times as long. Install a C++ compiler and reinstall Kinetag."
            )
            warnings.warn(message, NativeFlowMissing, stacklevel=2)
        else:
            return NativeFlowEngine(num_threads)
    try:
        from models.flow.opencv import OpenCvFlowEngine
    except ImportError as error:
        message = "OpenCV is not installed; install Kinetag with its extra 'worker'."
        raise ContractViolation(message) from error
    return OpenCvFlowEngine(num_threads)


def quantize_flow(flow: FloatArray, clip_px: float) -> ByteArray:
    """Map flow to the 8-bit levels in which the field stores it.

    Args:
        flow: float32[...], pixels.
        clip_px: larger flow counts as this, > 0.

    Returns:
        uint8[...], round(255 * (v + clip_px) / (2 * clip_px)) with halves rounded up, so that no
        motion is level 128.

    Raises:
        ContractViolation: `clip_px` is not positive, or the flow holds a value that is no number.

    Source: denseflow src/common.cpp; there halves follow the machine's
    rounding mode, here zero flow is level 128 in any case.
    """
    if not clip_px > 0:
        raise ContractViolation(f"clip_px must be positive, got {clip_px}.")
    scaled = np.clip(flow, -clip_px, clip_px).astype(np.float32, copy=False)
    if not np.isfinite(scaled).all():
        raise ContractViolation("The flow holds a value that is no number.")
    scale = np.float32(LARGEST_LEVEL / (2 * clip_px))
    levels: ByteArray = np.floor(scaled * scale + np.float32(LARGEST_LEVEL / 2 + 0.5)).astype(
        np.uint8
    )
    return levels


def dequantize_flow(levels: ByteArray) -> FloatArray:
    """Map flow levels to the network's input range: 2 q / 255 - 1.

    Args:
        levels: uint8[...].

    Returns:
        float32[...] in [-1, 1]; multiply by the recipe's ``clip_px`` for pixels.

    Source: pytorch-i3d.
    """
    return levels.astype(np.float32) * np.float32(2 / LARGEST_LEVEL) - np.float32(1)
