"""CleanNet's contrast score of intervals, in numpy: for re-scoring, and as the reference.

Works on snippets: step t of a sequence covers [t, t + 1), and intervals have real ends. Its
differentiable twin is `models.heads.contrast_score`.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from models.config import ContrastSettings
from models.errors import ContractViolation
from models.types import DoubleArray, FloatArray, IntArray

# Below this length in snippets an interval counts as empty: a mean would only divide rounding.
MIN_LENGTH = 1e-6


def edgeness(sequences: FloatArray | DoubleArray, window: int) -> DoubleArray:
    """Return float64[T, C]: how steeply each sequence rises (> 0) or falls (< 0) at each step.

    In a window around a step: highest minus lowest value over the distance between their places,
    where the step lies between the two; 0 elsewhere and where both places are one. The earlier
    place wins a tie.

    Args:
        sequences: float[T, C], T >= 1.
        window: steps, odd.

    Source: CleanNet (ICCV 2019), equations 6 and 7; the left side of its printed equation 6 names
    the sign mask and can only mean the contrast.
    """
    values = np.asarray(sequences, np.float64)
    reach = window // 2
    places = np.arange(len(values))[:, None]

    def extreme(fill: float) -> tuple[DoubleArray, IntArray]:
        padded = np.pad(values, ((reach, reach), (0, 0)), constant_values=fill)
        windows = sliding_window_view(padded, window, axis=0)
        chosen = windows.argmax(axis=2) if fill < 0 else windows.argmin(axis=2)
        found = places - reach + chosen
        return np.take_along_axis(values, found, axis=0), found.astype(np.int64)

    high, high_place = extreme(-np.inf)
    low, low_place = extreme(np.inf)
    distance = np.abs(high_place - low_place)
    contrast = np.divide(high - low, distance, out=np.zeros_like(values), where=distance > 0)
    rising = (low_place <= places) & (places < high_place)
    falling = (high_place <= places) & (places < low_place)
    return np.asarray(contrast * (rising.astype(np.int64) - falling), np.float64)


def interval_means(
    sequences: FloatArray | DoubleArray, intervals: DoubleArray, columns: IntArray
) -> DoubleArray:
    """Return float64[K]: the mean of a column of float[T, C] over each real interval.

    Args:
        sequences: float[T, C].
        intervals: float64[K, 2], cut to [0, T] here.
        columns: int64[K], which of the C is meant.

    Returns:
        The means; 0 where nothing of an interval is left.
    """
    sums = _running_sums(sequences)
    cut = np.clip(intervals, 0.0, len(sequences))
    return _means(_sums_at(sums, cut[:, 0], columns), _sums_at(sums, cut[:, 1], columns), cut)


def contrast_scores(
    sequences: FloatArray | DoubleArray,
    intervals: DoubleArray,
    columns: IntArray,
    settings: ContrastSettings,
) -> DoubleArray:
    """Score intervals by how well they fit the action that a sequence shows.

    With d = length * margin_ratio: the mean inside the interval deflated by d; at each end the
    mean edgeness of the right sign within d of it, less the mean of the sequence up to d outside.

    Args:
        sequences: float[T, C] in [0, 1].
        intervals: float64[K, 2] in steps, end >= start; cut to [0, T] before anything else.
        columns: int64[K], which class each interval is of.
        settings: window, margin and terms.

    Returns:
        float64[K] in [-2, 2]; means over nothing are 0.

    Raises:
        ContractViolation: shapes disagree or an interval ends before it starts.

    Source: CleanNet (ICCV 2019), equations 8 to 12. Ends between snippets, ends cut to the video,
    and means over nothing are ours.
    """
    if intervals.shape != (len(columns), 2) or (intervals[:, 1] < intervals[:, 0]).any():
        message = (
            f"need intervals [K, 2] with end >= start and K columns, got {intervals.shape} and "
            f"{columns.shape}"
        )
        raise ContractViolation(message)
    end_of_all = float(len(sequences))
    starts, ends = np.clip(intervals, 0.0, end_of_all).T
    margins = (ends - starts) * settings.margin_ratio
    # Every mean is between two of these six ends, so that each running sum is looked up once.
    marks = [starts - margins, starts, starts + margins, ends - margins, ends, ends + margins]
    clipped = [np.clip(mark, 0.0, end_of_all) for mark in marks]
    inside = _MeansBetween(_running_sums(sequences), clipped, columns)
    steep = _MeansBetween(_running_sums(edgeness(sequences, settings.window)), clipped, columns)
    action = inside.mean(2, 3)
    if settings.terms == "action":
        return action
    start = steep.mean(0, 2) - inside.mean(0, 1)
    end = -steep.mean(3, 5) - inside.mean(4, 5)
    if settings.terms == "edges":
        return np.asarray(start + end, np.float64)
    return np.asarray(action + (start + end) / 2, np.float64)


class _MeansBetween:
    """Means of one kind of sequence between any two of several marks."""

    def __init__(self, sums: DoubleArray, marks: list[DoubleArray], columns: IntArray) -> None:
        self._marks = marks
        self._sums = [_sums_at(sums, mark, columns) for mark in marks]

    def mean(self, one: int, other: int) -> DoubleArray:
        """Return float64[K]: the mean from one mark to another."""
        ends = np.stack([self._marks[one], self._marks[other]], axis=1)
        return _means(self._sums[one], self._sums[other], ends)


def _running_sums(sequences: FloatArray | DoubleArray) -> DoubleArray:
    """Return float64[T + 1, C]: integrals from 0 to each step's start."""
    sums = np.zeros((len(sequences) + 1, sequences.shape[1]))
    np.cumsum(sequences, axis=0, dtype=np.float64, out=sums[1:])
    return sums


def _sums_at(sums: DoubleArray, marks: DoubleArray, columns: IntArray) -> DoubleArray:
    """Return float64[K]: integrals from 0 to real marks inside [0, T]."""
    left = np.minimum(marks.astype(np.int64), len(sums) - 2)
    width = sums.shape[1]
    flat, place = sums.ravel(), left * width + columns
    below = flat[place]
    return np.asarray(below + (marks - left) * (flat[place + width] - below), np.float64)


def _means(below: DoubleArray, above: DoubleArray, ends: DoubleArray) -> DoubleArray:
    lengths = ends[:, 1] - ends[:, 0]
    return np.divide(above - below, lengths, out=np.zeros_like(lengths), where=lengths > MIN_LENGTH)
