"""The only place that converts between grid frames, snippets and seconds.

Grid frame k is the frame on screen at k / fps seconds after the first presentation time.
Snippet i is the window of grid frames [i * stride, i * stride + window).
"""

import math
from dataclasses import dataclass

import numpy as np

from models.errors import ContractViolation
from models.types import DoubleArray

# A duration that ends within this share of a frame after a grid point does not open a new frame.
GRID_TOLERANCE_FRAMES = 1e-3


@dataclass(frozen=True, slots=True)
class TimeGrid:
    """Frames, windows and seconds of one video under one recipe.

    Args:
        fps: grid frames per second, > 0.
        window_frames: grid frames per snippet window, >= 1.
        stride_frames: grid frames between window starts, 1 <= stride <= window.
        duration_seconds: of the video, > 0.

    Raises:
        ContractViolation: a value is outside its range.
    """

    fps: float
    window_frames: int
    stride_frames: int
    duration_seconds: float

    def __post_init__(self) -> None:
        """Check the ranges once, so that no method has to."""
        if not (self.fps > 0 and math.isfinite(self.fps)):
            message = f"fps must be finite and > 0, got {self.fps}"
            raise ContractViolation(message)
        if not 1 <= self.stride_frames <= self.window_frames:
            message = (
                f"need 1 <= stride_frames <= window_frames, got {self.stride_frames} "
                f"and {self.window_frames}"
            )
            raise ContractViolation(message)
        if not (self.duration_seconds > 0 and math.isfinite(self.duration_seconds)):
            message = f"duration_seconds must be finite and > 0, got {self.duration_seconds}"
            raise ContractViolation(message)

    @property
    def num_frames(self) -> int:
        """Grid frames whose instant lies inside the video, at least 1."""
        return max(1, math.ceil(self.duration_seconds * self.fps - GRID_TOLERANCE_FRAMES))

    @property
    def num_snippets(self) -> int:
        """Windows needed to see every grid frame; the last one may be padded. At least 1."""
        hidden = self.window_frames - self.stride_frames
        return max(1, math.ceil((self.num_frames - hidden) / self.stride_frames))

    def window_range(self, snippet: int) -> tuple[int, int]:
        """Return the half-open grid-frame range of a snippet's window, not clipped to the video."""
        start = snippet * self.stride_frames
        return start, start + self.window_frames

    def snippet_seconds(self) -> DoubleArray:
        """Return float64[T, 2]: start and end of each window, ends clipped to the duration."""
        starts = np.arange(self.num_snippets, dtype=np.float64) * self.stride_frames / self.fps
        ends = np.minimum(starts + self.window_frames / self.fps, self.duration_seconds)
        return np.stack([np.minimum(starts, self.duration_seconds), ends], axis=1)

    def snippet_centers_seconds(self) -> DoubleArray:
        """Return float64[T]: the middle of each unclipped window, where its value belongs."""
        starts = np.arange(self.num_snippets, dtype=np.float64) * self.stride_frames
        return (starts + self.window_frames / 2) / self.fps

    def snippet_starts_seconds(self) -> DoubleArray:
        """Return float64[T]: the start of each window, where the field's published code puts it."""
        return np.arange(self.num_snippets, dtype=np.float64) * self.stride_frames / self.fps

    def frame_seconds(self, frame: int) -> float:
        """Return the instant of a grid frame."""
        return frame / self.fps

    def activation_seconds(
        self, positions: DoubleArray, num_steps: int, *, centered: bool
    ) -> DoubleArray:
        """Return the instants of positions on an activation sequence that spans this video.

        Args:
            positions: float64[...], in steps; step j covers the positions [j, j + 1).
            num_steps: T of the sequence; differs from ``num_snippets`` when a head stretched or
                thinned the video.
            centered: step j is as long as the stride and lies around the middle of its window;
                otherwise it begins where its window begins.

        Source: BaS-Net utils.py for ``centered=False``, without its fixed 25 fps and stride.
        """
        spacing_seconds = self.num_snippets * self.stride_frames / (num_steps * self.fps)
        shift_frames = (self.window_frames - self.stride_frames) / 2 if centered else 0.0
        return np.asarray(positions * spacing_seconds + shift_frames / self.fps, np.float64)
