"""What both flow implementations demand of their input, checked in one place."""

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from models.errors import ContractViolation
from models.machine import read_cores
from models.recipe import FlowRecipe
from models.types import ByteArray

# Central differences and the median need a neighbour on each side of some pixel.
SMALLEST_SIDE_PX = 3
FRAME_DIMENSIONS = 3  # F + 1, H, W
# The sizes both implementations know; 1 means no filter.
MEDIAN_SIZES = (1, 5)


class _Sliced(Protocol):
    def __getitem__(self, index: tuple[slice, slice, slice], /) -> Any: ...  # noqa: ANN401


Sliceable = TypeVar("Sliceable", bound=_Sliced)


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of a frame, in whole pixels.

    Attributes:
        top, left: first row and column.
        height, width: how many of each.
    """

    top: int
    left: int
    height: int
    width: int

    @classmethod
    def center(cls, frame_size: tuple[int, int], crop_px: int) -> "Region":
        """Return the middle square that `models.arrays.center_crop` cuts out of [H, W]."""
        height, width = frame_size
        return cls((height - crop_px) // 2, (width - crop_px) // 2, crop_px, crop_px)

    def cut(self, frames: Sliceable) -> Sliceable:
        """Return this part of [F, H, W, C], as a view; of arrays and of tensors alike."""
        rows = slice(self.top, self.top + self.height)
        columns = slice(self.left, self.left + self.width)
        part: Sliceable = frames[:, rows, columns]
        return part


def require_region(region: Region | None, height: int, width: int) -> Region:
    """Return the region, the whole frame for None, refusing one that leaves the frame.

    Raises:
        ContractViolation: the region is empty or reaches outside [height, width].
    """
    if region is None:
        return Region(0, 0, height, width)
    inside = 0 <= region.top <= height - region.height and 0 <= region.left <= width - region.width
    if not inside or min(region.height, region.width) < 1:
        message = f"The region {region} does not lie inside frames of {width}x{height} px."
        raise ContractViolation(message)
    return region


def require_frames(grey: ByteArray) -> None:
    """Refuse anything but a batch of grey frames that are large enough.

    Raises:
        ContractViolation: dtype, number of dimensions, or size is wrong, or no frame is given.
    """
    if grey.dtype != np.uint8:
        raise ContractViolation(f"Optical flow takes uint8 frames, got {grey.dtype}.")
    if grey.ndim != FRAME_DIMENSIONS or grey.shape[0] == 0:
        message = f"Optical flow takes frames [F + 1, H, W] with F >= 0, got shape {grey.shape}."
        raise ContractViolation(message)
    if min(grey.shape[1:]) < SMALLEST_SIDE_PX:
        message = (
            f"Optical flow needs frames of at least {SMALLEST_SIDE_PX} pixels on either side, "
            f"got shape {grey.shape}."
        )
        raise ContractViolation(message)


def require_recipe(recipe: FlowRecipe) -> None:
    """Refuse a recipe that neither implementation can follow.

    Raises:
        ContractViolation: another algorithm, a median size not in MEDIAN_SIZES, or a number that
            makes no sense.
    """
    if recipe.algorithm != "tvl1":
        message = f"The only optical flow algorithm is 'tvl1', got {recipe.algorithm!r}."
        raise ContractViolation(message)
    if recipe.median_filtering not in MEDIAN_SIZES:
        message = f"median_filtering must be one of {MEDIAN_SIZES}, got {recipe.median_filtering}."
        raise ContractViolation(message)
    counts = (
        recipe.num_scales,
        recipe.num_warps,
        recipe.inner_iterations,
        recipe.outer_iterations,
    )
    lengths = (recipe.tau, recipe.lambda_, recipe.theta, recipe.epsilon)
    if min(counts) < 1 or min(lengths) <= 0 or not 0 < recipe.scale_step < 1:
        message = f"The flow recipe has a number outside its range: {recipe}."
        raise ContractViolation(message)


def resolve_threads(num_threads: int) -> int:
    """Return `num_threads`, or the number of usable processors where it is 0.

    A container's quota counts: threads beyond it would only be stopped by turns.

    Raises:
        ContractViolation: `num_threads` is negative.
    """
    if num_threads < 0:
        raise ContractViolation(f"num_threads must not be negative, got {num_threads}.")
    if num_threads > 0:
        return num_threads
    return read_cores().usable
