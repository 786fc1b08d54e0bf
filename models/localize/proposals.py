"""Candidate intervals: a sequence is upsampled, cut at thresholds and grouped into runs.

Knows samples only; `models.localize.segments` turns them into seconds.
"""

import numpy as np

from models.config import Alignment
from models.errors import ContractViolation
from models.types import DoubleArray, FloatArray, IntArray


def upsample_linear(values: FloatArray | DoubleArray, factor: int, align: Alignment) -> DoubleArray:
    """Interpolate sequences linearly along time.

    Args:
        values: float[T, C], T >= 1.
        factor: samples per snippet, >= 1.
        align: ``center`` places samples in cells around the snippets and holds the first and the
            last value at the borders; ``start`` places samples at 0, 1 / factor, 2 / factor, ...
            and continues the last slope past T - 1.

    Returns:
        float64[T * factor, C].

    Source: BaS-Net test.py for ``start``; ``center`` is ours, since a value describes its whole
    window and not its first frame.
    """
    num_snippets = len(values)
    if num_snippets < 1 or factor < 1:
        message = f"need at least one snippet and factor >= 1, got {num_snippets} and {factor}"
        raise ContractViolation(message)
    knots = np.asarray(values, np.float64)
    samples = np.arange(num_snippets * factor, dtype=np.float64)
    if align == "center":
        positions = np.clip((samples + 0.5) / factor - 0.5, 0, num_snippets - 1)
    else:
        positions = samples / factor
    if num_snippets == 1:
        return np.repeat(knots, factor, axis=0)
    left = np.minimum(positions.astype(np.int64), num_snippets - 2)
    share = (positions - left)[:, None]
    before, after = np.take(knots, left, axis=0), np.take(knots, left + 1, axis=0)
    return np.asarray(before * (1 - share) + after * share, np.float64)


def runs_above(sequence: FloatArray | DoubleArray, threshold: float) -> IntArray:
    """Return int64[K, 2]: the maximal half-open runs of samples strictly above a threshold.

    In order of time; runs that touch either end count like any other.
    """
    inside = np.concatenate([[False], np.asarray(sequence, np.float64) > threshold, [False]])
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    return changes.reshape(-1, 2).astype(np.int64)


def widened(runs: IntArray, window: int, length: int) -> IntArray:
    """Return int64[K', 2]: runs dilated by a window of samples; those that meet become one.

    A window of one sample changes nothing. Of an even window the longer half lies before a run.

    Args:
        runs: int64[K, 2], disjoint and in order of time, as `runs_above` returns them.
        window: samples, >= 1.
        length: of the sequence; runs are cut to it.
    """
    if window <= 1 or len(runs) == 0:
        return runs
    starts = np.maximum(0, runs[:, 0] - window // 2)
    ends = np.minimum(length, runs[:, 1] + (window - 1) // 2)
    opens = np.concatenate([[True], starts[1:] > ends[:-1]])
    closes = np.concatenate([opens[1:], [True]])
    return np.stack([starts[opens], ends[closes]], axis=1).astype(np.int64)


def mean_over_runs(sums: DoubleArray, runs: IntArray) -> DoubleArray:
    """Return float64[K]: the mean inside each run of a sequence given by its running sums."""
    return np.asarray((sums[runs[:, 1]] - sums[runs[:, 0]]) / (runs[:, 1] - runs[:, 0]), np.float64)
