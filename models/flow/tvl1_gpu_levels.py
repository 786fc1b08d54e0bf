"""The pyramid of TV-L1 on tensors: sizes, resizing, gradients; shared by both GPU back-ends.

The numbers follow the native kernel (`_tvl1.cpp`, `_tvl1_kernel.hpp`) step by step. Everything
here is torch operations on whole batches, because together it is a hundredth of the work.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from models.recipe import FlowRecipe

# Levels below this side are left out. Source: OpenCV contrib tvl1flow, calc.
SMALLEST_LEVEL_PX = 16


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a bilinear resize.

    Attributes:
        index, following: int64[N], the two samples of each output pixel.
        weight: float32[N], of the second one.
    """

    index: Tensor
    following: Tensor
    weight: Tensor


def level_sizes(height: int, width: int, recipe: FlowRecipe) -> list[tuple[int, int]]:
    """Return (H, W) of every level, the finest first; there is always one.

    Source: OpenCV contrib tvl1flow; halves go to the even neighbour, as `round` does.
    """
    sizes = [(height, width)]
    while len(sizes) < recipe.num_scales:
        finer = sizes[-1]
        coarser = (round(finer[0] * recipe.scale_step), round(finer[1] * recipe.scale_step))
        if min(coarser) < SMALLEST_LEVEL_PX:
            break
        sizes.append(coarser)
    return sizes


def axis_table(length: int, target: int, step: float, device: torch.device) -> Axis:
    """Return where each of ``target`` pixels reads a row of ``length`` pixels.

    ``step`` is source pixels per target pixel; pixel centres are at halves, and what would be
    read outside is the nearest pixel.
    """
    at = ((np.arange(target) + 0.5) * step - 0.5).astype(np.float32)
    whole = np.floor(at)
    index = np.clip(whole.astype(np.int64), 0, length - 1)
    weight = np.where(whole < 0, np.float32(0), at - whole).astype(np.float32)
    return Axis(
        torch.from_numpy(index).to(device),
        torch.from_numpy(np.minimum(index + 1, length - 1)).to(device),
        torch.from_numpy(weight).to(device),
    )


def resize(planes: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """Resize float32[..., H, W] by the tables of both axes."""
    left, right = planes[..., columns.index], planes[..., columns.following]
    across = left + columns.weight * (right - left)
    above, below = across[..., rows.index, :], across[..., rows.following, :]
    return above + rows.weight[:, None] * (below - above)


def build_pyramid(frames: Tensor, recipe: FlowRecipe) -> list[Tensor]:
    """Return float32[F, H_s, W_s] of every level, the finest first, of uint8[F, H, W]."""
    images = [frames.to(torch.float32)]
    step = 1 / recipe.scale_step
    sizes = level_sizes(frames.shape[-2], frames.shape[-1], recipe)
    for finer, (height, width) in pairwise(sizes):
        rows = axis_table(finer[0], height, step, frames.device)
        columns = axis_table(finer[1], width, step, frames.device)
        images.append(resize(images[-1], rows, columns).contiguous())
    return images


def upsample_flow(flow: Tensor, size: tuple[int, int], recipe: FlowRecipe) -> Tensor:
    """Bring float32[P, 2, h, w] to the next finer level (H, W): larger, and longer vectors."""
    rows = axis_table(flow.shape[-2], size[0], flow.shape[-2] / size[0], flow.device)
    columns = axis_table(flow.shape[-1], size[1], flow.shape[-1] / size[1], flow.device)
    return (resize(flow, rows, columns) * (1 / recipe.scale_step)).contiguous()


def with_gradients(images: Tensor) -> Tensor:
    """Return float32[F, 3, H, W]: intensity and its central differences along x and y.

    At the edges the missing neighbour is the pixel itself, so that half a one-sided difference
    stands there.
    """
    taps = torch.empty(
        (len(images), 3, *images.shape[1:]), dtype=torch.float32, device=images.device
    )
    taps[:, 0] = images
    for channel, axis in ((1, 2), (2, 1)):
        length = images.shape[axis]
        place = torch.arange(length, device=images.device)
        following = images.index_select(axis, (place + 1).clamp(max=length - 1))
        before = images.index_select(axis, (place - 1).clamp(min=0))
        taps[:, channel] = 0.5 * (following - before)
    return taps
