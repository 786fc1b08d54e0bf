"""Candidate intervals: a sequence is upsampled, cut at thresholds and grouped into runs.

Knows samples only; `models.localize.segments` turns them into seconds.
"""

from collections.abc import Sequence

import numpy as np

from models.config import Alignment
from models.errors import ContractViolation
from models.types import DoubleArray, FloatArray, IntArray

CELLS_AT_ONCE = 2048
"""Of so many snippets all samples stay in a processor's cache while they are made."""


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


class Upsampler:
    """Does for single sequences what `upsample_linear` does, to the last bit and much faster.

    Where samples lie between which snippets, and how near, is the same for every sequence of a
    video: it is worked out once, and laid out so that no sample has to look its snippets up. A
    video of hours has millions of samples, so memory is taken once, too.

    Args:
        num_snippets: T of the sequences, >= 1.
        factor, align: see `upsample_linear`.
    """

    def __init__(self, num_snippets: int, factor: int, align: Alignment) -> None:
        self._factor = factor
        self._align = align
        # An odd factor has samples on the very centres, where rounding decides the neighbours.
        self._is_regular = num_snippets > 1 and not (align == "center" and factor % 2)
        self._rooms: dict[str, DoubleArray] = {}
        if not self._is_regular:
            return
        samples = np.arange(num_snippets * factor, dtype=np.float64)
        # Half a cell at each end holds the outermost values; between lie T - 1 whole cells.
        self._held = factor // 2 if align == "center" else 0
        if align == "center":
            positions = ((samples + 0.5) / factor - 0.5)[self._held : -self._held]
            left = np.arange(num_snippets - 1, dtype=np.float64)
        else:
            positions = samples / factor
            left = np.minimum(np.arange(num_snippets, dtype=np.float64), num_snippets - 2)
        self._after_share = positions.reshape(-1, factor) - left[:, None]
        self._before_share = 1 - self._after_share
        self._product = np.empty((min(CELLS_AT_ONCE, len(left)), factor))

    def room(self, length: int, role: str) -> DoubleArray:
        """Return float64[length] to be filled; the same memory whenever this role asks for it."""
        kept = self._rooms.get(role)
        if kept is None or len(kept) != length:
            kept = self._rooms[role] = np.empty(length)
        return kept

    def __call__(self, sequence: FloatArray | DoubleArray, role: str = "") -> DoubleArray:
        """Return float64[T * factor] of float[T]; the next call of the same role overwrites it."""
        if not self._is_regular:
            return upsample_linear(sequence[:, None], self._factor, self._align)[:, 0]
        knots = np.asarray(sequence, np.float64)
        result = self.room(len(knots) * self._factor, role)
        before, after = knots[:-1], knots[1:]
        if self._align == "start":
            # Past the last snippet its slope goes on.
            before, after = np.append(before, before[-1]), np.append(after, after[-1])
        result[: self._held] = knots[0]
        result[len(result) - self._held :] = knots[-1]
        cells = result[self._held : len(result) - self._held].reshape(-1, self._factor)
        for first in range(0, len(cells), CELLS_AT_ONCE):
            block = slice(first, first + CELLS_AT_ONCE)
            product = self._product[: len(cells[block])]
            np.multiply(before[block, None], self._before_share[block], out=cells[block])
            np.multiply(after[block, None], self._after_share[block], out=product)
            cells[block] += product
        return result


def runs_above(sequence: FloatArray | DoubleArray, threshold: float) -> IntArray:
    """Return int64[K, 2]: the maximal half-open runs of samples strictly above a threshold.

    In order of time; runs that touch either end count like any other.
    """
    inside = np.concatenate([[False], np.asarray(sequence, np.float64) > threshold, [False]])
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    return changes.reshape(-1, 2).astype(np.int64)


def runs_above_each(
    sequence: FloatArray | DoubleArray, thresholds: Sequence[float]
) -> list[IntArray]:
    """Return `runs_above` for each threshold, in their order.

    What lies above a threshold lies above every lower one: only the lowest looks at all samples.
    """
    values = np.asarray(sequence, np.float64)
    runs: dict[float, IntArray] = {}
    above = None
    for threshold in sorted(set(thresholds)):
        inside = values > threshold
        places = np.flatnonzero(inside)
        values = values[places]
        above = places if above is None else above[places]
        runs[threshold] = _grouped(above)
    return [runs[threshold] for threshold in thresholds]


def _grouped(places: IntArray) -> IntArray:
    """Return int64[K, 2]: the half-open runs of int64[N] rising places."""
    if len(places) == 0:
        return np.zeros((0, 2), np.int64)
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = np.concatenate([places[:1], places[breaks + 1]])
    ends = np.concatenate([places[breaks], places[-1:]]) + 1
    return np.stack([starts, ends], axis=1).astype(np.int64)


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
