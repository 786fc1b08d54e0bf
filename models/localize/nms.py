"""Suppression of overlapping intervals of one class in one video.

Intervals are half-open float64 seconds. Order of the input never matters: intervals are ranked
by score, ties by earlier start, then by earlier end.
"""

import numpy as np

from models.config import NmsSettings
from models.errors import ContractViolation
from models.types import DoubleArray, IntArray


def interval_iou(one: DoubleArray, others: DoubleArray, *, extra: float = 0.0) -> DoubleArray:
    """Return float64[K]: overlap of one interval, float64[2], with float64[K, 2].

    Intersection over union; two empty intervals have 0. ``extra`` is added to each length and to
    the intersection before it is cut at zero.

    Source: BaS-Net, CoLA, ASL and AICL for an extra of one, a pixel habit applied to seconds.
    """
    inter = _intersection(one, others, extra)
    union = (one[1] - one[0] + extra) + (others[:, 1] - others[:, 0] + extra) - inter
    iou: DoubleArray = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return iou


def _intersection(one: DoubleArray, others: DoubleArray, extra: float) -> DoubleArray:
    inter = np.minimum(one[1], others[:, 1]) - np.maximum(one[0], others[:, 0]) + extra
    return np.asarray(np.maximum(0.0, inter), np.float64)


def _contained_share(one: DoubleArray, others: DoubleArray, extra: float) -> DoubleArray:
    """Return which share of each other interval lies inside the one."""
    inter = _intersection(one, others, extra)
    lengths = others[:, 1] - others[:, 0] + extra
    share: DoubleArray = np.divide(inter, lengths, out=np.zeros_like(inter), where=lengths > 0)
    return share


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
    kept: list[int] = []
    rest = order
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        kept.append(best)
        if settings.kind == "contain":
            share = _contained_share(intervals[best], intervals[rest], extra)
            rest = rest[share <= settings.threshold]
        else:
            iou = interval_iou(intervals[best], intervals[rest], extra=extra)
            rest = rest[iou < settings.threshold]
    indices = np.asarray(kept, np.int64)
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
    indices: list[int] = []
    emitted: list[float] = []
    rest = order
    while len(rest):
        best, rest = int(rest[0]), rest[1:]
        indices.append(best)
        emitted.append(float(scores[best]))
        iou = interval_iou(intervals[best], intervals[rest], extra=extra)
        dropped = iou >= settings.threshold
        indices.extend(int(index) for index in rest[dropped])
        decayed = scores[rest[dropped]] * _decay(iou[dropped], settings.alpha)
        emitted.extend(float(score) for score in decayed)
        rest = rest[~dropped]
    return _ranked(intervals, np.asarray(indices, np.int64), np.asarray(emitted, np.float64))


def _suppress_soft(
    intervals: DoubleArray,
    scores: DoubleArray,
    order: IntArray,
    settings: NmsSettings,
    extra: float,
) -> tuple[IntArray, DoubleArray]:
    """Decay every overlapping positive score by a Gaussian of its overlap and rank again.

    Source: Soft-NMS (ICCV 2017), Gaussian form, without its final score cut.
    """
    current = scores.astype(np.float64)
    rest = order
    indices: list[int] = []
    while len(rest):
        best = int(rest[0])
        indices.append(best)
        rest = rest[1:]
        iou = interval_iou(intervals[best], intervals[rest], extra=extra)
        positive = current[rest] > 0
        current[rest] *= np.where(positive, _decay(iou, settings.alpha), 1.0)
        rest = rest[ranking(intervals[rest], current[rest])]
    kept = np.asarray(indices, np.int64)
    return kept, current[kept]


def _ranked(
    intervals: DoubleArray, indices: IntArray, scores: DoubleArray
) -> tuple[IntArray, DoubleArray]:
    order = ranking(intervals[indices], scores)
    return indices[order], scores[order]
