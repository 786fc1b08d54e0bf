"""Outer-inner contrast: how much a proposal's inside stands out from its margins.

One function covers the published variants; `models.config.OicSettings` names where they differ.
"""

import numpy as np

from models.config import OicSettings
from models.errors import ContractViolation
from models.types import DoubleArray, FloatArray, IntArray


def running_sums(values: FloatArray | DoubleArray, out: DoubleArray | None = None) -> DoubleArray:
    """Return float64[T + 1]: the sum of the first 0, 1, ..., T values; in ``out`` where given."""
    sums = np.empty(len(values) + 1) if out is None else out
    sums[0] = 0.0
    np.cumsum(np.asarray(values, np.float64), out=sums[1:])
    return sums


def outer_inner_contrast(
    activation: FloatArray | DoubleArray,
    runs: IntArray,
    class_scores: DoubleArray,
    settings: OicSettings,
    threshold: float = 0.0,
    sums: DoubleArray | None = None,
) -> DoubleArray:
    """Score runs by inner mean minus outer mean plus a share of the class's video score.

    A run of n samples has a margin of max(margin_ratio * n, min_margin) samples on each side,
    its far ends truncated to whole samples and to the sequence.

    Args:
        activation: float[T], one class, in [0, 1].
        runs: int64[K, 2], half-open sample ranges, 0 <= start < end <= T.
        class_scores: float64[K], the class's video score at each run.
        settings: of the variant.
        threshold: the cut that made the runs; used only by ``thresholded``.
        sums: `running_sums` of the activation, for callers that score many cuts of it.

    Returns:
        float64[K], in [-1, 1 + class_bonus]; margins clipped away entirely count as 0. With
        ``trailing_sample`` the runs are still given without that sample.

    Raises:
        ContractViolation: a run is empty or outside the sequence.

    Source: AutoLoc (ECCV 2018); ranges as in BaS-Net test.py, which rounds far ends toward zero.
    """
    length = len(activation)
    starts, ends = runs[:, 0], runs[:, 1]
    if len(runs) and (starts.min() < 0 or ends.max() > length or (ends <= starts).any()):
        message = f"runs must be non-empty ranges inside [0, {length}), got {runs.tolist()[:8]}"
        raise ContractViolation(message)
    if settings.thresholded:
        values = np.asarray(activation, np.float64)
        sums = running_sums(np.where(values > threshold, values, 0.0))
    elif sums is None:
        sums = running_sums(activation)
    margins = np.maximum(settings.margin_ratio * (ends - starts), settings.min_margin)
    last_end = length
    if settings.trailing_sample:
        ends = np.minimum(ends + 1, length)
        last_end = length - 1
    left = np.maximum(0, np.trunc(starts - margins)).astype(np.int64)
    far = np.minimum(last_end, np.trunc(ends - 1 + margins).astype(np.int64) + 1)
    right = np.maximum(ends, far)
    inner = (sums[ends] - sums[starts]) / (ends - starts)
    outer_sum = (sums[starts] - sums[left]) + (sums[right] - sums[ends])
    actual = ((starts - left) + (right - ends)).astype(np.float64)
    divisor = 2 * margins if settings.nominal_margin else actual
    has_margin = (actual > 0) & (divisor > 0)
    outer = np.where(has_margin, outer_sum / np.where(has_margin, divisor, 1.0), 0.0)
    return np.asarray(inner - outer + settings.class_bonus * class_scores, np.float64)
