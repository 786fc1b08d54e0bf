"""Refuses a wheel whose native TV-L1 kernel is missing or wrong on this machine.

Run by cibuildwheel in a fresh environment: an installation without a compiler falls back to a wheel
without the kernel, which is right for a user and never right for a published wheel.
"""

import sys

import numpy as np

from models.flow import _tvl1
from models.flow.frames import Region
from models.flow.native import NativeFlowEngine
from models.recipe import FlowRecipe

SHIFT_PX = 1.0
TOLERANCE_PX = 0.1


def main() -> None:
    """Leave with a message unless every kernel finds a known shift, in frames and in a region."""
    y, x = np.mgrid[:48, :64].astype(np.float32)
    frames = [128 + 60 * np.sin((x - SHIFT_PX * k) / 3) + 40 * np.cos(y / 4) for k in range(2)]
    grey = np.stack(frames).astype(np.uint8)
    region = Region(16, 16, 16, 32)
    for target in _tvl1.targets():
        engine = NativeFlowEngine(1, target)
        for flow in (
            region.cut(engine.compute(grey, FlowRecipe())),
            engine.compute(grey, FlowRecipe(), region),
        ):
            found = float(flow[..., 0].mean())
            if abs(found - SHIFT_PX) > TOLERANCE_PX:
                sys.exit(f"{target}: found a shift of {found} px, not {SHIFT_PX} px")
        sys.stdout.write(f"kernel {engine.version}: ok\n")


if __name__ == "__main__":
    main()
