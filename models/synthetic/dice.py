"""Seeded draws: one independent, platform-stable stream per purpose."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from models.synthetic.ranges import Range

Item = TypeVar("Item")


class Dice:
    """Random draws of one purpose: PCG64 fed by a seed and the purpose's number."""

    def __init__(self, *entropy: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))

    def between(self, limits: Range) -> float:
        """Return a float drawn evenly from ``limits``."""
        low, high = limits
        return float(low + (high - low) * self.generator.random())

    def chance(self, probability: float) -> bool:
        """Return True with ``probability``."""
        return bool(self.generator.random() < probability)

    def side(self) -> float:
        """Return -1.0 or 1.0."""
        return 1.0 if self.chance(0.5) else -1.0

    def whole(self, stop: int) -> int:
        """Return an integer in [0, stop)."""
        return int(self.generator.integers(stop))

    def pick(self, items: Sequence[Item]) -> Item:
        """Return one of ``items``."""
        return items[self.whole(len(items))]

    def phase(self) -> float:
        """Return an angle in [0, 2 pi)."""
        return self.between((0.0, 2 * float(np.pi)))
