"""The trivial opponent: motion energy, given the true tags.

Where something moves more than it usually does in this video, the tagged actions are claimed.
A localizer that does not clearly beat this has learned nothing about actions.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from models.flow.tvl1 import FlowEngine
from models.frame_windows import FrameSource
from models.recipe import FeatureRecipe
from models.types import Activations, DoubleArray, FloatArray

PAIRS_PER_SNIPPET = 3
UPPER_QUANTILE = 0.9


def pair_magnitudes(
    source: FrameSource, recipe: FeatureRecipe, engine: FlowEngine
) -> Iterator[list[FloatArray]]:
    """Yield, per snippet, the flow magnitudes float32[1, H, W] in px of a few neighbour pairs.

    The pairs are evenly spaced in the window; a window of a single frame has none.
    """
    if recipe.flow is None:
        return
    grid = recipe.grid(source.facts.duration_seconds)
    step = recipe.window_frames // PAIRS_PER_SNIPPET
    for snippet in range(grid.num_snippets):
        start, stop = grid.window_range(snippet)
        frames = source.read(start, min(stop, grid.num_frames))
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        yield [
            np.linalg.norm(engine.compute(np.stack(grey[i : i + 2]), recipe.flow), axis=-1)
            for i in range(0, len(grey) - 1, step)
        ]


def motion_energy(source: FrameSource, recipe: FeatureRecipe, engine: FlowEngine) -> DoubleArray:
    """Return float64[T, 2]: mean and upper-quantile flow magnitude of each snippet, in px.

    Flow is measured on a few evenly spaced neighbour pairs of each window.
    """
    rows = []
    for magnitudes in pair_magnitudes(source, recipe, engine):
        values = np.concatenate([one.ravel() for one in magnitudes]) if magnitudes else np.zeros(1)
        rows.append((values.mean(), np.quantile(values, UPPER_QUANTILE)))
    return np.asarray(rows, dtype=np.float64).reshape(-1, 2)


def motion_activations(
    energy: FloatArray | DoubleArray, tags: tuple[str, ...], classes: tuple[str, ...]
) -> Activations:
    """Turn one energy column into activations of the true tags, min-max over the video.

    Args:
        energy: float[T].
        tags: the video's true labels.
        classes: all labels in order.
    """
    low, high = float(energy.min()), float(energy.max())
    scaled = (energy - low) / (high - low) if high > low else np.zeros_like(energy)
    present = np.array([label in tags for label in classes], dtype=np.float32)
    sequence = (scaled[:, None] * present[None, :]).astype(np.float32)
    return Activations(
        localization=sequence,
        scoring=sequence,
        video_scores=present,
        attention=scaled.astype(np.float32),
        classes=classes,
    )
