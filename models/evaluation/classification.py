"""How well video scores rank videos: the measure that needs whole-video tags only."""

import numpy as np
from numpy.typing import NDArray

from models.types import DoubleArray, FloatArray


def video_map(scores: FloatArray | DoubleArray, labels: NDArray[np.bool_]) -> float:
    """Return the mean over classes of the average precision of ranking videos, in [0, 1].

    Ties rank in the order of the videos. Classes without a positive video are left out; without
    any class the result is 0.

    Args:
        scores: float[N, C].
        labels: bool[N, C].

    Source: average precision as the mean of precision at each positive (no interpolation).
    """
    precisions = []
    for column, truth in zip(np.asarray(scores, np.float64).T, labels.T, strict=True):
        if not truth.any():
            continue
        ranked = truth[np.argsort(-column, kind="stable")]
        hits = ranked.cumsum()
        precisions.append(float((hits / np.arange(1, len(ranked) + 1))[ranked].mean()))
    return float(np.mean(precisions)) if precisions else 0.0
