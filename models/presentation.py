"""When the frames of a video are on screen, and which one is at a given instant.

Knows presentation times alone: neither files nor the uniform grid, which `models.timegrid` owns.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from models.types import DoubleArray, IntArray

# Instants are compared with half a tick of the container's clock as slack, since containers round
# presentation times to ticks (Matroska: 1 ms); never more than this.
MAX_SLACK_SECONDS = 1e-3


@dataclass(frozen=True, slots=True)
class PresentationTimes:
    """The presentation times of one video's frames.

    Attributes:
        time_base: seconds of one tick, > 0.
        ticks: int64[N], N >= 1, in order, the first is 0.
    """

    time_base: Fraction
    ticks: IntArray

    def frames_at(self, seconds: DoubleArray) -> IntArray:
        """Return int64[...]: the frame on screen at each instant, clipped to the video."""
        tick = float(self.time_base)
        slack = min(tick / 2, MAX_SLACK_SECONDS)
        # The tiny relative term absorbs float64 rounding of k / fps.
        instants = (seconds * (1 + 1e-12) + slack) / tick + 1e-9
        found = np.searchsorted(self.ticks, np.floor(instants).astype(np.int64), side="right") - 1
        return np.clip(found, 0, len(self.ticks) - 1)
