"""Suppression of overlapping intervals of one class in one video.

Intervals are half-open float64 seconds. Order of the input never matters: intervals are ranked
by score, ties by earlier start, then by earlier end.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.config import NmsSettings
from models.errors import ContractViolation
from models.types import DoubleArray, IntArray

PAIRS_AT_ONCE = 4_000_000
TOUCHING = float(np.finfo(np.float64).tiny)
"""The least overlap that is one."""


def ranking(intervals: DoubleArray, scores: DoubleArray) -> IntArray:
    """Return int64[K]: indices by descending score, ties by start, then by end."""
    return np.lexsort((intervals[:, 1], intervals[:, 0], -scores)).astype(np.int64)


def suppress(
    intervals: DoubleArray,
    scores: DoubleArray,
    settings: NmsSettings,
    snippet_seconds: float = 0.0,
) -> tuple[IntArray, DoubleArray]:
    """Suppress overlapping intervals.

    Args:
        intervals: float64[K, 2], half-open seconds, end >= start.
        scores: float64[K], finite, of any sign.
        settings: kind and threshold.
        snippet_seconds: what ``plus_one`` adds where its unit is snippets.

    Returns:
        int64[M] indices of what stays, best first, and float64[M] their scores, which only the
        soft kinds change. No intervals in, none out.

    Raises:
        ContractViolation: shapes disagree, a score is not finite, or an interval ends before it
            starts.
    """
    if intervals.shape != (len(scores), 2) or not np.isfinite(scores).all():
        message = (
            f"need intervals [K, 2] and K finite scores, got {intervals.shape}, {scores.shape}"
        )
        raise ContractViolation(message)
    if (intervals[:, 1] < intervals[:, 0]).any():
        message = "an interval ends before it starts"
        raise ContractViolation(message)
    order = ranking(intervals, scores)
    extra = 0.0
    if settings.plus_one:
        extra = snippet_seconds if settings.plus_unit == "snippets" else 1.0
    if settings.kind == "soft":
        return _suppress_soft(intervals, scores, order, settings, extra)
    if settings.kind == "soft_once":
        return _suppress_soft_once(intervals, scores, order, settings, extra)
    return _suppress_hard(intervals, scores, order, settings, extra)


def _suppress_hard(
    intervals: DoubleArray,
    scores: DoubleArray,
    order: IntArray,
    settings: NmsSettings,
    extra: float,
) -> tuple[IntArray, DoubleArray]:
    """Keep the best, drop what overlaps it, repeat.

    ``hard`` drops at the threshold and above, ``contain`` only above it, as published.
    """
    better, worse, _ = _conflicts(intervals[order], settings, extra)
    indices = order[_greedy(len(order), better, worse)]
    return indices, scores[indices]


def _decay(iou: DoubleArray, alpha: float) -> DoubleArray:
    return np.asarray(np.exp(-(iou**2) / alpha), np.float64)


def _suppress_soft_once(
    intervals: DoubleArray,
    scores: DoubleArray,
    order: IntArray,
    settings: NmsSettings,
    extra: float,
) -> tuple[IntArray, DoubleArray]:
    """As hard, but a dropped interval is emitted once with a decayed score.

    Source: ASL and AICL utils/misc_utils.py; not the textbook procedure.
    """
    better, worse, iou = _conflicts(intervals[order], settings, extra)
    kept = _greedy(len(order), better, worse)
    drops = kept[better] & ~kept[worse]
    better, worse, iou = better[drops], worse[drops], iou[drops]
    # Of all kept intervals that overlap it, the best one was the first to drop it.
    dropped, first = np.unique(worse[np.lexsort((better, worse))], return_index=True)
    emitted = scores[order].astype(np.float64)
    emitted[dropped] *= _decay(iou[np.lexsort((better, worse))][first], settings.alpha)
    return _ranked(intervals, order, emitted)


def _conflicts(
    intervals: DoubleArray, settings: NmsSettings, extra: float
) -> tuple[IntArray, IntArray, DoubleArray]:
    """Return which of float64[K, 2] intervals, given in order of rank, suppress which.

    Returns:
        int64[P] ranks of the better and of the worse, float64[P] overlap of all pairs whose
        overlap suffices. Only intervals that come near each other are looked at.
    """
    layout = np.argsort(intervals[:, 0], kind="stable")
    starts, ends = intervals[layout, 0], intervals[layout, 1]
    # At a threshold of 0 intervals far apart suppress each other, too.
    last = np.searchsorted(starts, ends + extra, side="right")
    if settings.threshold <= 0:
        last = np.full(len(layout), len(layout))
    counts = np.maximum(0, last - np.arange(1, len(layout) + 1))
    blocks = np.cumsum(counts) // PAIRS_AT_ONCE
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        places = np.repeat(rows, counts[rows])
        before = np.repeat(np.cumsum(counts[rows]) - counts[rows], counts[rows])
        ones, others = layout[places], layout[places + 1 + np.arange(len(places)) - before]
        better, worse = np.minimum(ones, others), np.maximum(ones, others)
        overlap = _overlap(intervals[better], intervals[worse], settings, extra)
        enough = overlap >= settings.threshold
        if settings.kind == "contain":
            enough = overlap > settings.threshold
        found.append((better[enough], worse[enough], overlap[enough]))
    better, worse, overlap = (np.concatenate(one) for one in zip(*found, strict=True))
    return better, worse, overlap


def _overlap(
    better: DoubleArray, worse: DoubleArray, settings: NmsSettings, extra: float
) -> DoubleArray:
    """Return float64[P] of pairs float64[P, 2]: IoU, or the worse one's share inside the better.

    ``extra`` is added to each length and to the intersection before it is cut at zero; two empty
    intervals have 0.

    Source: BaS-Net, CoLA, ASL and AICL for an extra of one, a pixel habit applied to seconds.
    """
    inter = np.minimum(better[:, 1], worse[:, 1]) - np.maximum(better[:, 0], worse[:, 0]) + extra
    inter = np.maximum(0.0, inter)
    divisor = worse[:, 1] - worse[:, 0] + extra
    if settings.kind != "contain":
        divisor = (better[:, 1] - better[:, 0] + extra) + divisor - inter
    share: DoubleArray = np.divide(inter, divisor, out=np.zeros_like(inter), where=divisor > 0)
    return share


def _greedy(count: int, better: IntArray, worse: IntArray) -> NDArray[np.bool_]:
    """Return bool[count]: what keeping the best and dropping its conflicts, repeated, keeps.

    Whole rounds at once: who has no better rival left is kept, and its conflicts are dropped.
    """
    kept = np.zeros(count, np.bool_)
    undecided = np.ones(count, np.bool_)
    while undecided.any():
        blocked = np.zeros(count, np.bool_)
        blocked[worse] = True
        fresh = undecided & ~blocked
        kept |= fresh
        undecided &= blocked
        undecided[worse[fresh[better]]] = False
        open_ = undecided[better] & undecided[worse]
        better, worse = better[open_], worse[open_]
    return kept


def _suppress_soft(
    intervals: DoubleArray,
    scores: DoubleArray,
    order: IntArray,
    settings: NmsSettings,
    extra: float,
) -> tuple[IntArray, DoubleArray]:
    """Decay every overlapping positive score by a Gaussian of its overlap and rank again.

    Whole rounds at once: scores only fall, so an interval that is better than all that overlap it
    and are left will be taken before any of them, and its score is final.

    Source: Soft-NMS (ICCV 2017), Gaussian form, without its final score cut.
    """
    ones, others, iou = _conflicts(intervals[order], replace(settings, threshold=TOUCHING), extra)
    decay = _decay(iou, settings.alpha)
    current = scores[order].astype(np.float64)
    ties = np.argsort(np.lexsort((intervals[order, 1], intervals[order, 0])))
    while len(ones):
        first = _ahead(current, ties, ones, others)
        losers = np.where(first, others, ones)
        blocked = np.zeros(len(order), np.bool_)
        blocked[losers] = True
        settled = ~blocked[ones] | ~blocked[others]
        targets = losers[settled]
        # Decays in the order in which their causes would be taken one by one.
        causes = np.where(first, ones, others)[settled]
        in_turn = np.lexsort((ties[causes], -current[causes]))
        targets, factors = targets[in_turn], decay[settled][in_turn]
        factors = np.where(current[targets] > 0, factors, 1.0)
        np.multiply.at(current, targets, factors)
        ones, others, decay = ones[~settled], others[~settled], decay[~settled]
    return _ranked(intervals, order, current)


def _ahead(
    scores: DoubleArray, ties: IntArray, ones: IntArray, others: IntArray
) -> NDArray[np.bool_]:
    """Return bool[P]: whether the first of each pair ranks before the other."""
    mine, theirs = scores[ones], scores[others]
    earlier = ties[ones] < ties[others]
    return np.asarray((mine > theirs) | ((mine == theirs) & earlier), np.bool_)


def _ranked(
    intervals: DoubleArray, indices: IntArray, scores: DoubleArray
) -> tuple[IntArray, DoubleArray]:
    order = ranking(intervals[indices], scores)
    return indices[order], scores[order]
