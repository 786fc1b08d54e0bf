"""What a backbone is fed: a chunk's frames in blocks, flow levels between them, windows in batches.

Owns which frames a chunk reads and how the end of a video is padded. Holds a few blocks of frames
at a time, however long the video is. Frames stay 8-bit levels until the network takes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from models.errors import ContractViolation
from models.flow.frames import Region
from models.flow.tvl1 import FlowEngine, quantize_flow
from models.flow.tvl1_gpu import GpuFlowEngine
from models.flow.tvl1_gpu_frames import grey_from_rgb, quantize_tensor
from models.recipe import FeatureRecipe, FlowRecipe
from models.timegrid import TimeGrid
from models.types import ByteArray, MediaWarning, VideoFacts

BLOCK_FRAMES = 32
# No motion as an 8-bit level: round(255 / 2), halves up.
ZERO_FLOW_LEVEL = 128

# Stream -> uint8[F, h, w, C] of a block, or uint8[B, F, h, w, C] of windows, on any device.
Frames = dict[str, Tensor]


class FrameSource(Protocol):
    """What extraction needs of a video; `models.decode.VideoSource` is one."""

    @property
    def facts(self) -> VideoFacts:
        """Of the video."""
        ...

    @property
    def warnings(self) -> tuple[MediaWarning, ...]:
        """What was wrong so far."""
        ...

    def read(self, start_frame: int, stop_frame: int) -> ByteArray:
        """Return grid frames uint8[F, H, W, 3], fewer at the end of the video."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """Which snippets and frames one chunk has.

    Attributes:
        num_windows: snippets of the chunk.
        window_frames, stride_frames: of the recipe.
        start_frame: first grid frame.
        stop_frame: end of the last window; may lie past the video's end.
        num_video_frames: grid frames of the video.
    """

    num_windows: int
    window_frames: int
    stride_frames: int
    start_frame: int
    stop_frame: int
    num_video_frames: int

    @classmethod
    def of(cls, recipe: FeatureRecipe, duration_seconds: float, chunk: int) -> "ChunkPlan":
        """Plan one chunk of a video.

        Raises:
            ContractViolation: the video has no such chunk.
        """
        grid: TimeGrid = recipe.grid(duration_seconds)
        first = chunk * recipe.chunk_snippets
        last = min(first + recipe.chunk_snippets, grid.num_snippets)
        if chunk < 0 or first >= last:
            message = f"there is no chunk {chunk} in a video of {grid.num_snippets} snippets"
            raise ContractViolation(message)
        return cls(
            num_windows=last - first,
            window_frames=recipe.window_frames,
            stride_frames=recipe.stride_frames,
            start_frame=grid.window_range(first)[0],
            stop_frame=grid.window_range(last - 1)[1],
            num_video_frames=grid.num_frames,
        )


def decoded_blocks(
    source: FrameSource, plan: ChunkPlan, block_frames: int = BLOCK_FRAMES
) -> Iterator[tuple[ByteArray, ByteArray]]:
    """Yield (frames, following): so many frames and the one after them, if there is one.

    Past the video's end the last frame is repeated, and no frame follows.
    """
    last: ByteArray | None = None
    for start in range(plan.start_frame, plan.stop_frame, block_frames):
        stop = min(start + block_frames, plan.stop_frame)
        end = min(stop + 1, plan.num_video_frames)
        frames = source.read(start, end) if start < end else None
        if frames is None or len(frames) == 0:
            if last is None:
                message = f"the video has no frame at {start} of {plan.num_video_frames}"
                raise ContractViolation(message)
            frames = last[None]
            yield np.repeat(frames, stop - start, axis=0), frames[:0]
            continue
        count = min(len(frames), stop - start)
        block, following = frames[:count], frames[count:]
        last = frames[-1].copy()
        if count < stop - start:
            # The end of a video is never blind: its last frame stays on screen.
            padding = np.repeat(last[None], stop - start - count, axis=0)
            block = np.concatenate([block, padding])
        yield block, following


def flow_levels(
    engine: FlowEngine,
    recipe: FlowRecipe,
    frames: ByteArray,
    following: ByteArray,
    region: Region | None = None,
) -> ByteArray:
    """Return uint8[F, h, w, 2] of the region: flow to the next frame; none where none follows.

    A frame that is shown again costs nothing: between equal frames TV-L1 finds no motion at all.

    Source: kinetics-i3d README: TV-L1 on greyscale of the resized frames.
    """
    neighbours = [*frames, *following[:1]]
    grey = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in neighbours])
    changes = (grey[1:] != grey[:-1]).any(axis=(1, 2))
    shown_anew = grey[np.concatenate([[True], changes])]
    computed = quantize_flow(engine.compute(shown_anew, recipe, region), recipe.clip_px)
    levels = np.full((len(frames), *computed.shape[1:]), ZERO_FLOW_LEVEL, np.uint8)
    levels[: len(changes)][changes] = computed
    return levels


def device_flow_levels(
    engine: GpuFlowEngine, recipe: FlowRecipe, frames: Tensor, following: Tensor, region: Region
) -> Tensor:
    """Return what `flow_levels` does, of frames on the engine's device, and on that device."""
    grey = grey_from_rgb(torch.cat([frames, following[:1]]))
    levels = quantize_tensor(engine.compute_tensor(grey, recipe, region), recipe.clip_px)
    if len(levels) == len(frames):
        return levels
    still = levels.new_full((1, *levels.shape[1:]), ZERO_FLOW_LEVEL)
    return torch.cat([levels, still])


def cut_batches(blocks: Iterator[Frames], plan: ChunkPlan, batch_size: int) -> Iterator[Frames]:
    """Cut windows out of passing blocks and yield up to ``batch_size`` of them at a time."""
    held: Frames = {}
    held_start = plan.start_frame
    done = 0
    while done < plan.num_windows:
        count = min(batch_size, plan.num_windows - done)
        first = plan.start_frame + done * plan.stride_frames
        stop = first + (count - 1) * plan.stride_frames + plan.window_frames
        held = {stream: frames[first - held_start :] for stream, frames in held.items()}
        held_start = first
        while not held or held_start + len(next(iter(held.values()))) < stop:
            block = next(blocks)
            held = {
                stream: torch.cat([held[stream], frames]) if held else frames
                for stream, frames in block.items()
            }
        starts = [index * plan.stride_frames for index in range(count)]
        yield {
            stream: torch.stack([frames[at : at + plan.window_frames] for at in starts])
            for stream, frames in held.items()
        }
        done += count


def padded(windows: Tensor, batch_size: int) -> Tensor:
    """Fill a short batch up with its last window: numbers must not depend on a batch's size."""
    missing = batch_size - len(windows)
    if missing == 0:
        return windows
    return torch.cat([windows, windows[-1:].expand(missing, *windows.shape[1:])])
